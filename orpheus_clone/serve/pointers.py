"""What voices' names mean, as a node asks for every session.

A directory is asked each time. A cloud takes tens of milliseconds to answer and may be away, so its
answer holds for some seconds, and the last one holds as long as it does not answer: a store that is
down takes no voice with it.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from orpheus_clone.errors import StoreError
from orpheus_clone.store import Pointer, Store

FRESH_SECONDS = 2.0
"""How late a node may learn that a pointer in a cloud was moved by somebody else."""

log = logging.getLogger(__name__)


@dataclass
class Pointers:
    """See the module docstring."""

    store: Store
    clock: Callable[[], float] = time.monotonic
    _known: dict[str, tuple[Pointer, float]] = field(default_factory=dict)

    def get(self, voice: str) -> Pointer:
        """What a voice's name means."""
        if self.store.objects.root is not None:
            return self.store.pointer(voice)
        known = self._known.get(voice)
        if known is not None and self.clock() < known[1]:
            return known[0]
        if known is not None:  # other sessions do not wait for the answer that this one waits for
            self._remember(known[0])
        try:
            found = self.store.pointer(voice)
        except StoreError as error:
            if known is None:
                raise
            log.warning("what voice %s meant last holds: %s", voice, error)
            found = known[0]
        self._remember(found)
        return found

    def forget(self, voice: str) -> None:
        """Ask the store again next time: this node has moved the pointer."""
        self._known.pop(voice, None)

    def _remember(self, pointer: Pointer) -> None:
        """For a while; a name that means nothing is not worth it: anybody may ask for one."""
        if pointer.shown:
            self._known[pointer.voice] = (pointer, self.clock() + FRESH_SECONDS)
        else:
            self._known.pop(pointer.voice, None)
