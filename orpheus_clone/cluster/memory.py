"""A registry inside one process: for one node, which needs no Redis, and for tests."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from orpheus_clone.cluster.registry import TTL_SECONDS, Fleet, IdTaken
from orpheus_clone.cluster.state import NodeState


class MemoryRegistry:
    """See `Registry`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[NodeState, float]] = {}
        self._version = 0
        self._changed = asyncio.Event()

    async def heartbeat(self, node: NodeState) -> bool:
        """Join, or say that the node is still there; whether it was known."""
        self._forget_the_silent()
        held = self._seen.get(node.id, (None, 0.0))[0]
        if held is not None and held.incarnation != node.incarnation:
            raise IdTaken(held)
        self._seen[node.id] = (node, self._clock() + TTL_SECONDS)
        if held is None or held.phase is not node.phase:
            self._say_changed()
        return held is not None

    async def leave(self, node: NodeState) -> None:
        """Be gone at once."""
        held = self._seen.get(node.id, (None, 0.0))[0]
        if held is not None and held.incarnation == node.incarnation:
            del self._seen[node.id]
            self._say_changed()

    async def fleet(self) -> Fleet:
        """All nodes that are alive."""
        self._forget_the_silent()
        return Fleet(self._version, [node for node, _ in self._seen.values()])

    async def hint(self, seconds: float) -> None:
        """Wait until something changes, or so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def close(self) -> None:
        """Nothing to free."""

    def _forget_the_silent(self) -> None:
        now = self._clock()
        silent = [name for name, (_, until) in self._seen.items() if until <= now]
        for name in silent:
            del self._seen[name]
        if silent:
            self._say_changed()

    def _say_changed(self) -> None:
        self._version += 1
        self._changed.set()
        self._changed = asyncio.Event()
