"""A command that kills itself when it is about to change the disk for the first time, the second, …

    python -m tests.publish.killed FOLDER COMMAND…

What counts is what the interpreter reports before it does it (`sys.addaudithook`) of files in
FOLDER: opening for writing, making, renaming, removing. So every step on the way is met, and the
product knows nothing of it. Each line on stdin is a go; each on stdout says how that went: 0 once
the command has lived to its end, after which this ends too, or -9.
"""

import os
import signal
import sys
from typing import Any

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}


def main() -> None:
    """Fork for each step, so that what takes long to import is imported once."""
    folder, command = sys.argv[1], sys.argv[2:]
    import orpheus_clone.publish.run  # noqa: F401

    for step, _ in enumerate(sys.stdin, 1):
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            _run(folder, step, command)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, flush=True)
        if status != -signal.SIGKILL:
            return


def _run(folder: str, deadly: int, command: list[str]) -> None:
    """The command, which does not live to see step `deadly`."""
    from orpheus_clone import cli

    steps = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal steps
        if _changes(event, arguments, folder):
            steps += 1
            if steps == deadly:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    sys.argv = ["orpheus-clone", *command]
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        os._exit(code)


def _changes(event: str, arguments: tuple[Any, ...], folder: str) -> bool:
    """Whether an event is about to change something in the folder."""
    if event == "open":
        path, _, flags = arguments
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR))
        return writes and str(path).startswith(folder)
    return event in CHANGES and any(str(part).startswith(folder) for part in arguments)


if __name__ == "__main__":
    main()
