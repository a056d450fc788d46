"""`orpheus-clone …` that kills itself when it is about to do a certain thing to a certain file.

    python -m tests.serve.dying EVENT PART COMMAND…

EVENT is one of Python's audit events, as os.rename, and PART is in the path that it is about.
"""

import os
import signal
import sys
from typing import Any


def main() -> None:
    """Arm, then run the command."""
    deadly, part = sys.argv[1:3]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == deadly and any(part in str(argument) for argument in arguments):
            os.kill(os.getpid(), signal.SIGKILL)

    from orpheus_clone import cli

    sys.argv = ["orpheus-clone", *sys.argv[3:]]
    sys.addaudithook(watch)
    cli.main()


if __name__ == "__main__":
    main()
