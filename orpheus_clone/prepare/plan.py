"""Which of the possible cuts to take: the cheapest way to divide a recording into clips.

    edge    0     1        2      3          4        in pauses; some may only begin or end a clip
            ├─────┼────────┼──────┼──────────┤
            │ clip 0 to 2  │ lost │   clip   │

A clip costs what its edges cost (nothing at the end of a sentence), a little for being far from a
length in the middle, and something for long pauses inside of it. A stretch that is left out costs
more, by the speech that is lost. The cheapest division is found by going through the edges once,
looking back as far as the longest clip reaches (dynamic programming, exact).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log2, sqrt

LOST_A_SECOND = 2.0
"""A second of speech costs as much as both edges of a clip in the middle of a sentence."""
LENGTH = 0.1
"""For each factor of two away from the middle, which is the mean of the limits' logarithms."""
PAUSE_A_SECOND = 0.5
PAUSE_S = 0.7
"""Pauses inside a clip cost what they exceed this by."""


@dataclass(frozen=True)
class Edge:
    """A place where clips may end and begin, in seconds; None: not here."""

    left_s: float | None
    """Where a clip before it ends."""
    right_s: float | None
    """Where a clip after it begins."""
    cost: float
    speech_s: float
    """Seconds of speech in the recording before this edge."""
    pause_s: float = 0.0
    """How long nobody speaks here."""
    is_barrier: bool = False
    """No clip may go over it."""


def divide(edges: Sequence[Edge], shortest_s: float, longest_s: float) -> list[tuple[int, int]]:
    """The clips as (first edge, last edge), in order; the second may be the first of the next."""
    best: list[tuple[float, int, bool]] = [(0.0, -1, False)]
    for at in range(1, len(edges)):
        lost_s = edges[at].speech_s - edges[at - 1].speech_s
        found = (best[at - 1][0] + LOST_A_SECOND * lost_s, at - 1, False)
        pauses = 0.0
        for start in range(at - 1, -1, -1):
            if _is_too_long(edges, start, at, longest_s):
                break
            cost = best[start][0] + pauses + _cost(edges[start], edges[at], shortest_s, longest_s)
            found = min(found, (cost, start, True))
            if edges[start].is_barrier:
                break
            pauses += PAUSE_A_SECOND * max(0.0, edges[start].pause_s - PAUSE_S)
        best.append(found)
    clips = []
    at = len(best) - 1
    while at > 0:
        _, start, is_clip = best[at]
        if is_clip:
            clips.append((start, at))
        at = start
    return clips[::-1]


def _is_too_long(edges: Sequence[Edge], start: int, end: int, longest_s: float) -> bool:
    """Whether no clip from `start` or before it to `end` can be short enough."""
    right_s, left_s = edges[start].right_s, edges[end].left_s
    return left_s is None or (right_s is not None and left_s - right_s > longest_s)


def _cost(first: Edge, last: Edge, shortest_s: float, longest_s: float) -> float:
    if first.right_s is None or last.left_s is None or last.speech_s <= first.speech_s:
        return inf
    seconds = last.left_s - first.right_s
    if not shortest_s <= seconds <= longest_s:
        return inf
    octaves = abs(log2(seconds / sqrt(shortest_s * longest_s)))
    return first.cost + last.cost + LENGTH * octaves
