"""SIGTERM and Ctrl-C while a run is on: finish the step, keep it, end.

between steps     the handler takes a note, and the loop saves a checkpoint and raises
with all saved    the handler raises at once (`is_safe`), as while an epoch's voice is judged
a second signal   ends the process as it would have ended without us; but of several processes
                  each gets Ctrl-C twice, from the terminal and from its launcher, so there it waits
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from orpheus_clone.errors import Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Asked:
    """Whether somebody wants the run to end."""

    def __init__(self) -> None:
        self.by: signal.Signals | None = None
        self.is_safe = False
        """Nothing would be lost."""

    def end(self) -> NoReturn:
        """Interrupted by the signal that came here, or by the one that came to another process."""
        by = self.by or signal.SIGTERM
        raise Interrupted(
            f"ended by {by.name}; all is saved: run the same command again to go on", by
        )

    @contextlib.contextmanager
    def safe(self) -> Iterator[None]:
        """A block that may be left at any point."""
        self.is_safe = True
        try:
            if self.by is not None:
                self.end()
            yield
        finally:
            self.is_safe = False


@contextlib.contextmanager
def noticed() -> Iterator[Asked]:
    """Notice the signals in the block; only a process's main thread can, others hear nothing."""
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    is_alone = int(os.environ.get("WORLD_SIZE", "1")) == 1

    def notice(number: int, _frame: FrameType | None) -> None:
        if asked.by is not None:
            return
        asked.by = signal.Signals(number)
        if is_alone:
            _restore(before)
        if asked.is_safe:
            asked.end()

    for number in SIGNALS:
        signal.signal(number, notice)
    try:
        yield asked
    finally:
        _restore(before)


def _restore(handlers: "dict[signal.Signals, signal._HANDLER]") -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
