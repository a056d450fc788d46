"""Who may speak now: real time is promised or refused.

    check ─▶ a session is admitted ─▶ its streams speak in turns (turns.py)
      └─ Busy: another node, or later                 └─ Busy: wait until it has `changed`

A session is admitted if one stream more would still be real time for all (rates.py). A socket may
be silent for long, so what counts is streams that speak, and for `RESERVED_S` those that sessions
just admitted are about to begin. Text that comes over a socket when all others speak takes its turn
when one of them pauses.

With no stream live one is always admitted: a machine that is never in time serves one at a time.
`admits_all` lets everybody in, late or not.
"""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from orpheus_clone.errors import Busy, EngineDead
from orpheus_clone.serve.rates import ENOUGH, Meter, Rates

RESERVED_S = 2.0
"""How long a session that was admitted keeps the place of a stream that it has not begun."""
UNLIMITED = 2**31
GONE = "the engine is gone, or hangs; restart this node"


@dataclass(frozen=True)
class Promise:
    """What a node was started with."""

    admits_all: bool = False
    max_sessions: int | None = None
    """Live sessions, silent sockets too; a hard bound."""
    max_streams: int | None = None
    """What the engine generates at a time; more would wait in it."""


@dataclass
class Admission:
    """See the module docstring."""

    engine_lives: Callable[[], bool]
    promise: Promise = Promise()
    clock: Callable[[], float] = time.monotonic
    rates: Rates = field(default_factory=Rates)
    sessions: int = 0
    """Live ones."""
    streams: int = 0
    """Those that speak now."""
    is_draining: bool = False
    """The node is about to stop and takes no new sessions; set once."""
    _reserved: deque[float] = field(default_factory=deque)
    """Until when each session that was admitted and has not spoken keeps its place."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is more room the next time; of the time after that another tells."""

    @property
    def capacity(self) -> int:
        """Streams that this node can speak in real time, as far as is known; at least one."""
        most = self.promise.max_streams or UNLIMITED
        return max(1, math.floor(min(most, self.rates.capacity)))

    def check(self) -> None:
        """Busy, or EngineDead, where one more session is not to be here: try the next node."""
        if not self.engine_lives():
            raise EngineDead(GONE)
        self.check_stays()
        if self.promise.max_sessions is not None and self.sessions >= self.promise.max_sessions:
            raise Busy(f"this node has {self.sessions} sessions, and --max-sessions is no more")
        self._forget_late()
        self._check_room(self.streams + len(self._reserved))

    def check_stays(self) -> None:
        """Busy where this node is about to stop: nobody is to begin anything through it."""
        if self.is_draining:
            raise Busy("this node is about to stop; others take new sessions", retry_after_s=1)

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """A session, from its admission to its end; raises as `check` does."""
        self.check()
        self.sessions += 1
        self._reserved.append(self.clock() + RESERVED_S)
        try:
            yield
        finally:
            self.sessions -= 1
            if len(self._reserved) > self.sessions:  # it never spoke
                self._reserved.popleft()

    def meter(self) -> Meter:
        """What measures a stream."""
        return Meter(lambda: self.streams, self.rates.learn, self.clock)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """A stream speaks, for as long as there is text of it; Busy where it has to wait."""
        self._check_room(self.streams)
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    def begun(self) -> None:
        """A session that was admitted speaks for the first time, and counts as a stream now."""
        if self._reserved:
            self._reserved.popleft()  # whose it is does not matter: they are only counted

    def tell(self) -> None:
        """There is more room than there was: who waits for some may look again."""
        self.changed.set()
        self.changed = asyncio.Event()

    def _check_room(self, taken: int) -> None:
        if not self.promise.admits_all and taken >= self.capacity:
            raise Busy(
                f"no room for one more: as many speak here ({taken}) as each get the "
                f"{ENOUGH:.0f} tokens a second that real time takes; try again later"
            )

    def _forget_late(self) -> None:
        now = self.clock()
        while self._reserved and self._reserved[0] <= now:
            self._reserved.popleft()
