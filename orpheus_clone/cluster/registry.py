"""Who is alive: the protocol, and what a node says about itself."""

from dataclasses import dataclass
from typing import Protocol

TTL_SECONDS = 6.0
"""A node that has said nothing for so long is gone."""
HEARTBEAT_SECONDS = 2.0


@dataclass(frozen=True)
class NodeInfo:
    """A node as others see it."""

    id: str
    url: str
    """Where other nodes reach it."""
    base_digest: str
    """Only nodes of one base can speak each other's voices."""


class Registry(Protocol):
    """Where nodes make themselves known; OSError if it cannot be reached."""

    async def heartbeat(self, node: NodeInfo) -> None:
        """Join, or say that the node is still there."""
        ...

    async def leave(self, node: NodeInfo) -> None:
        """Be gone at once, rather than after the TTL."""
        ...

    async def nodes(self) -> list[NodeInfo]:
        """All nodes that are alive."""
        ...

    async def close(self) -> None:
        """Free connections."""
        ...
