"""The fleet as one node knows it: the last that the registry said, and what to make of gaps.

A node that is missing has left or is dead. But a registry that has just lost everything, or could
not be reached for a while, knows nobody who has not yet spoken again: then, for one time to live,
who is missing is still thought to be there.
"""

import math
import time
from collections.abc import Callable

from orpheus_clone.cluster.registry import TTL_SECONDS, Fleet
from orpheus_clone.cluster.state import NodeState

SILENCE_SECONDS = TTL_SECONDS / 2
"""After so long without a word of the registry, others may have been without it for longer."""


class View:
    """See the module docstring."""

    def __init__(self, me: NodeState, clock: Callable[[], float] = time.monotonic) -> None:
        self.nodes: dict[str, NodeState] = {me.id: me}
        """By id; one's own is always among them."""
        self.version = 0
        """Of the members, as the registry counts it."""
        self._clock = clock
        self._heard: dict[tuple[str, str, int], float] = {}
        """When each node's last heartbeat, by id, incarnation and number, was first seen here."""
        self._updated_at = math.nan
        self._patient_until = -math.inf

    def update(self, fleet: Fleet, me: NodeState, *, was_known: bool) -> None:
        """Take over what the registry says now, which knew this node before, or did not."""
        now = self._clock()
        has_memory = not math.isnan(self._updated_at)
        if has_memory and (not was_known or now - self._updated_at > SILENCE_SECONDS):
            self._patient_until = now + TTL_SECONDS
        self._updated_at = now
        kept = self.nodes if now < self._patient_until else {}
        self.nodes = kept | {node.id: node for node in fleet.nodes} | {me.id: me}
        self.version = fleet.version
        self._heard = {beat: self._heard.get(beat, now) for beat in map(_beat, self.nodes.values())}

    def silence(self, node: NodeState) -> float:
        """Seconds since a node's last heartbeat was first seen here."""
        now = self._clock()
        return now - self._heard.get(_beat(node), now)


def _beat(node: NodeState) -> tuple[str, str, int]:
    return node.id, node.incarnation, node.beat
