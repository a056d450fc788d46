"""The command line: parse, call one function, print what it returns.

Heavy imports are inside the commands, so that --help and completion are instant. Results go to
stdout (with --json, one object), talk goes to stderr. Exit codes are in errors.py.
"""

import sys
import traceback
from typing import NoReturn

from orpheus_clone import errors, terminal
from orpheus_clone.cli import making, operating, proving, releasing, speaking
from orpheus_clone.cli.app import app

__all__ = ["app", "main", "making", "operating", "proving", "releasing", "speaking"]

_INTERRUPTED = 130
_EXTRAS = dict.fromkeys(
    (
        *("accelerate", "av", "datasets", "librosa", "matplotlib", "peft"),
        *("psutil", "pyloudnorm", "rapidfuzz", "soxr", "tensorboardX"),
    ),
    "train",
)
_EXTRAS |= dict.fromkeys(("fastapi", "prometheus_client", "redis", "uvicorn"), "serve")
_EXTRAS |= {"ray": "ray", "obstore": "stores", "opentelemetry": "otel"}
"""Which extra brings a package that some commands import."""


def main() -> None:
    """Entry point: deliberate errors become a line and an exit code, bugs keep their traceback."""
    try:
        app()
    except errors.OrpheusCloneError as error:
        terminal.print_error(str(error))
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # typer has caught the KeyboardInterrupt
            terminal.print_error("interrupted; run the same command again to go on")
        raise
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            _report_bug()
        terminal.print_error(
            f"this needs the package {error.name}: pip install 'orpheus-clone[{extra}]'"
        )
        sys.exit(errors.MachineError.exit_code)
    except Exception:
        _report_bug()


def _report_bug() -> NoReturn:
    traceback.print_exc()
    terminal.print_error("this is a bug of orpheus-clone; please report it with the lines above")
    sys.exit(errors.OrpheusCloneError.exit_code)
