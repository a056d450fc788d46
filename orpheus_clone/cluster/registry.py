"""Who is alive: the protocol. In memory for one node, Redis for more.

A node says so every HEARTBEAT_SECONDS and is gone TTL_SECONDS after it last did, by the registry's
own clock: nobody else's is asked. Each time that a node comes, goes or changes its phase, the
version goes up in the same step.
"""

from dataclasses import dataclass
from typing import Protocol

from orpheus_clone.cluster.state import NodeState
from orpheus_clone.errors import NodeError

TTL_SECONDS = 6.0
"""A node that has said nothing for so long is gone."""
HEARTBEAT_SECONDS = 2.0


class IdTaken(NodeError):
    """Another process has the node's id."""

    def __init__(self, holder: NodeState) -> None:
        super().__init__(
            f"the node id {holder.id!r} is taken by the node at {holder.url}; give each node its "
            "own --node-id"
        )
        self.holder = holder


@dataclass(frozen=True)
class Fleet:
    """All nodes that are alive, at one moment."""

    version: int
    """Never the same for other members, not even after the registry has lost all it knew."""
    nodes: list[NodeState]


class Registry(Protocol):
    """Where nodes make themselves known; OSError if it cannot be reached."""

    async def heartbeat(self, node: NodeState) -> bool:
        """Join, or say that the node is still there; whether it was known.

        IdTaken if another incarnation of that id is alive.
        """
        ...

    async def leave(self, node: NodeState) -> None:
        """Be gone at once, rather than after the TTL; another incarnation stays."""
        ...

    async def fleet(self) -> Fleet:
        """All nodes that are alive, and the version."""
        ...

    async def hint(self, seconds: float) -> None:
        """Wait until the version may have changed, or so long.

        May return early and may miss a change: only `fleet` tells. Never fails; where nothing can
        be heard it waits.
        """
        ...

    async def close(self) -> None:
        """Free connections."""
        ...
