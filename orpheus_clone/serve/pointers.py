"""What voices' names mean, as a node asks for every session.

A directory is asked each time. A cloud takes tens of milliseconds to answer, and may be away or
hang, so its answer holds for some seconds; then one session asks again and waits a moment, while
the others go on with what is known. That holds as long as no answer comes: a store that is down
takes no voice with it, and neither does one in which a voice's log cannot be seen any more.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from orpheus_clone.errors import StoreError
from orpheus_clone.serve.flights import Flights
from orpheus_clone.store import Pointer, Store

FRESH_SECONDS = 2.0
"""How late a node may learn that a pointer in a cloud was moved by somebody else."""
PATIENCE_SECONDS = 0.25
"""How long a session that asks again waits before it takes what is known."""
_THREADS = 4

log = logging.getLogger(__name__)


@dataclass
class Pointers:
    """See the module docstring."""

    store: Store
    clock: Callable[[], float] = time.monotonic
    patience_s: float = PATIENCE_SECONDS
    _known: dict[str, tuple[Pointer, float]] = field(default_factory=dict)
    _flights: Flights[Pointer] = field(default_factory=lambda: Flights(_THREADS))
    _moves: int = 0

    def get(self, voice: str) -> Pointer:
        """What a voice's name means."""
        if self.store.objects.root is not None:
            return self.store.pointer(voice)
        known, until = self._known.get(voice, (None, 0.0))
        if known is not None and self.clock() < until:
            return known
        if known is None or not known.shown:
            return self._asked(voice, None).result()
        if voice in self._flights:
            return known
        try:
            return self._asked(voice, known).result(self.patience_s)
        except TimeoutError:
            return known

    def forget(self, voice: str) -> None:
        """Ask the store again next time: this node has moved the pointer."""
        self._moves += 1
        self._known.pop(voice, None)
        self._flights.leave(voice)

    def _asked(self, voice: str, known: Pointer | None) -> Future[Pointer]:
        return self._flights.join(voice, partial(self._ask, voice, known, self._moves))

    def _ask(self, voice: str, known: Pointer | None, moves: int) -> Pointer:
        found = self._answer(voice, known)
        if moves == self._moves:  # else it may be of before this node moved it
            self._remember(found)
        return found

    def _answer(self, voice: str, known: Pointer | None) -> Pointer:
        try:
            seen = self.store.see(voice)
        except StoreError as error:
            if known is None:
                raise
            log.warning("what voice %s meant last holds: %s", voice, error)
            return known
        if seen.version is None and known is not None:
            log.warning("what voice %s meant last holds: its log is gone from the store", voice)
            return known
        return seen.pointer

    def _remember(self, pointer: Pointer) -> None:
        """For a while; names that mean nothing are let go of then: anybody may ask for one."""
        now = self.clock()
        for voice, (known, until) in list(self._known.items()):
            if not known.shown and until <= now:
                self._known.pop(voice, None)
        self._known[pointer.voice] = (pointer, now + FRESH_SECONDS)
