"""Waiting for something to become true, with a deadline instead of a sleep of a guessed length."""

import time
from collections.abc import Callable

_STEP_SECONDS = 0.01


def eventually(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Return as soon as `condition` holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(_STEP_SECONDS)
