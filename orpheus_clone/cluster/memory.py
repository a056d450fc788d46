"""A registry inside one process: for one node, which needs no Redis, and for tests."""

import time
from collections.abc import Callable

from orpheus_clone.cluster.registry import TTL_SECONDS, NodeInfo


class MemoryRegistry:
    """See `Registry`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[NodeInfo, float]] = {}

    async def heartbeat(self, node: NodeInfo) -> None:
        """Join, or say that the node is still there."""
        self._seen[node.id] = (node, self._clock() + TTL_SECONDS)

    async def leave(self, node: NodeInfo) -> None:
        """Be gone at once."""
        self._seen.pop(node.id, None)

    async def nodes(self) -> list[NodeInfo]:
        """All nodes that are alive."""
        now = self._clock()
        return [node for node, until in self._seen.values() if until > now]

    async def close(self) -> None:
        """Nothing to free."""
