"""The command line, run in this process as a user would, and what it printed."""

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from typing import Any

from orpheus_clone import cli


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """stdout, which must hold one JSON object on one line and nothing else."""
        assert self.out.count("\n") == 1, self.out
        data: dict[str, Any] = json.loads(self.out)
        return data

    @property
    def said(self) -> str:
        """stderr with its line breaks and boxes taken out."""
        return " ".join(self.err.translate({ord(c): " " for c in "│╭╮╰╯─"}).split())


def run(*arguments: str) -> Done:
    """`orpheus-clone` with these arguments."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["orpheus-clone", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
        code: object = 0
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = before
    assert code is None or isinstance(code, int)
    return Done(code or 0, out.getvalue(), err.getvalue())
