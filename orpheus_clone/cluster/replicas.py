"""How many nodes a voice speaks on, in proportion to how many sessions want it.

    replicas = ceil(demand / a fifth of what a node speaks on average)

so that no voice is more than a fifth of any node, popular voices level what the ring left uneven,
and all others stay whole on one node each. Demand is smoothed (EMA). More of it brings replicas at
the next tick; less takes them back one at a time, and only after it has stayed well below for a
while. What is taken back gets no new sessions; the live ones end where they are.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

SMOOTHING_SECONDS = 8.4
"""Time constant of the demand: 0.3 of a change in 3 s, as in NVIDIA Dynamo."""
NODE_SHARE = 0.2
"""Of a node's sessions, how much one voice may be. For 100 of Zipf's voices on 8 nodes the fullest
is at 1.07 of the mean at 1.22 placements a voice (`bench ring`); with a quarter at 1.10 at 1.19,
with a tenth at 1.05 at 1.47."""
LEAST_SESSIONS = 4
"""Fewer are not worth a second node, however little there is to do."""
GIVE_BACK = 0.7
"""A replica goes back when the demand is below so much of what the others could speak."""
COOL_DOWN_SECONDS = 9.0
"""Dynamo's three ticks."""


@dataclass
class _Demand:
    """Of one bundle."""

    sessions: float
    replicas: int = 1
    needed_at: float = 0.0
    """When all replicas were last needed."""


@dataclass
class Replicas:
    """Of the bundles of one pool; see the module docstring."""

    clock: Callable[[], float] = time.monotonic
    _demands: dict[str, _Demand] = field(default_factory=dict)
    _seen_at: float = -math.inf

    def of(self, bundle: str) -> int:
        """How many of the first nodes of its preference speak it; 1 for what nobody wants."""
        found = self._demands.get(bundle)
        return 1 if found is None else found.replicas

    def observe(self, sessions: Mapping[str, int], nodes: int) -> None:
        """A tick: the live sessions of each bundle, and how many nodes take some."""
        now = self.clock()
        weight = -math.expm1((self._seen_at - now) / SMOOTHING_SECONDS)
        self._seen_at = now
        share = max(LEAST_SESSIONS, NODE_SHARE * sum(sessions.values()) / max(1, nodes))
        for bundle in self._demands.keys() | sessions.keys():
            demand = self._demands.setdefault(bundle, _Demand(0.0))
            demand.sessions += weight * (sessions.get(bundle, 0) - demand.sessions)
            self._adjust(demand, share, nodes, now)
        idle = [b for b, d in self._demands.items() if d.replicas == 1 and b not in sessions]
        for bundle in idle:
            del self._demands[bundle]

    def _adjust(self, demand: _Demand, share: float, nodes: int, now: float) -> None:
        wanted = min(max(1, math.ceil(demand.sessions / share)), max(1, nodes))
        demand.replicas = max(wanted, min(demand.replicas, nodes))
        if demand.sessions >= GIVE_BACK * share * (demand.replicas - 1):
            demand.needed_at = now
        elif now - demand.needed_at >= COOL_DOWN_SECONDS:
            demand.replicas -= 1
            demand.needed_at = now
