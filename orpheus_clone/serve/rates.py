"""How fast streams come, measured while they are spoken, and how many would be real time.

    a stream's chunks ─▶ Meter ─▶ windows of a second ─▶ Rates: seconds a token = a + b x streams
                                                           └─▶ capacity: the most streams of which
                                                               each still comes at ENOUGH

A step of an engine costs something whoever is in the batch (a: the weights are read) and something
for each stream (b), so a straight line through what was measured tells what one more would cost.
The line follows the last `MEMORY` windows: those of a busy node are of seconds, and an idle one
keeps what it knew. What the start of the node measured stays beneath, so that there always is a
line.

Measured is what a listener gets, codec included, from an utterance's first tokens to its last. Of
a window in which the listener held the stream up nothing is learnt.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from orpheus_clone.tokens import FRAME, REAL_TIME_RATE

MARGIN = 1.1
ENOUGH = MARGIN * REAL_TIME_RATE
"""Tokens a second of each stream, 90.2; "Serving Voice AI at $1/hr" asks for 90 to 100."""
MEMORY = 100
"""Windows."""
WINDOW_S = 1.0
LEAST_TOKENS = 2 * FRAME
"""Of a window that an utterance's end cut short."""
HELD_SHARE = 0.1
"""Of a window, how much its listener may have held up."""


class _Sums(NamedTuple):
    """Of a least-squares line y = a + b n."""

    weight: float = 0.0
    n: float = 0.0
    nn: float = 0.0
    y: float = 0.0
    ny: float = 0.0

    def with_point(self, n: float, y: float, keep: float = 1.0) -> "_Sums":
        """One point more; those before weigh `keep` of what they did."""
        point = (1.0, n, n * n, y, n * y)
        return _Sums(*(keep * old + new for old, new in zip(self, point, strict=True)))


@dataclass
class Rates:
    """See the module docstring."""

    _first: _Sums = field(default_factory=_Sums)
    _last: _Sums = field(default_factory=_Sums)

    def begin_with(self, streams: float, rate: float) -> None:
        """What was measured before anybody was served, tokens a second of each of `streams`."""
        self._first = self._first.with_point(streams, 1 / rate)

    def learn(self, streams: float, rate: float) -> None:
        """What was measured of one of `streams`, tokens a second."""
        self._last = self._last.with_point(streams, 1 / rate, keep=1 - 1 / MEMORY)

    @property
    def capacity(self) -> float:
        """How many streams would each come at ENOUGH; infinite where nothing speaks against it."""
        weight, n, nn, y, ny = (a + b for a, b in zip(self._first, self._last, strict=True))
        if not weight:
            return math.inf
        n, y = n / weight, y / weight
        spread = nn / weight - n * n
        slope = (ny / weight - n * y) / spread if spread > 1e-6 else 0.0
        left = 1 / ENOUGH - y
        if slope > 0:
            return n + left / slope
        return math.inf if left >= 0 else n / ENOUGH / y


class Meter:
    """Of one stream; it tells `learn` how many spoke and the tokens a second of this one."""

    def __init__(
        self,
        streams: Callable[[], int],
        learn: Callable[[float, float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._streams, self._learn, self._clock = streams, learn, clock
        self._is_open = False
        self._began = self._came_at = self._held = 0.0
        self._began_with = self._tokens = 0

    def came(self, tokens: int, *, is_end: bool) -> None:
        """A chunk is there; with `is_end` it ends an utterance, and the next is not waited for."""
        now = self._came_at = self._clock()
        if self._is_open:
            self._tokens += tokens
            if is_end or now - self._began >= WINDOW_S:
                self._close(now)
        if tokens and not is_end and not self._is_open:
            self._open(now)

    def taken(self) -> None:
        """The listener has taken the chunk that came last."""
        self._held += self._clock() - self._came_at

    def _open(self, now: float) -> None:
        self._is_open = True
        self._began, self._began_with = now, self._streams()
        self._tokens, self._held = 0, 0.0

    def _close(self, now: float) -> None:
        self._is_open = False
        seconds = now - self._began
        is_long = seconds >= WINDOW_S or self._tokens >= LEAST_TOKENS
        if is_long and self._held <= HELD_SHARE * seconds:
            streams = (self._began_with + self._streams()) / 2
            self._learn(streams, max(self._tokens, 1) / max(seconds, 1e-6))
