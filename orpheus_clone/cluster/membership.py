"""One node's place among the others: it joins, keeps saying so, and knows the ring.

The ring is a cached copy, so routing asks nobody. Where the registry cannot be reached, the last
known ring stays.
"""

import asyncio
import contextlib
import logging

from orpheus_clone.cluster.registry import HEARTBEAT_SECONDS, NodeInfo, Registry
from orpheus_clone.cluster.ring import Ring

log = logging.getLogger(__name__)


class Membership:
    """See the module docstring."""

    def __init__(self, registry: Registry, me: NodeInfo) -> None:
        self.me = me
        self._registry = registry
        self._nodes = {me.id: me}
        self._ring = Ring([me.id])
        self._task: asyncio.Task[None] | None = None
        self._has_left = False

    async def join(self) -> None:
        """Become known, learn who else is, and go on doing so in the background."""
        await self.refresh()
        self._task = asyncio.create_task(self._keep_alive())

    async def leave(self) -> None:
        """Tell the others, and stop; a second call does nothing."""
        if self._has_left:
            return
        self._has_left = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        with contextlib.suppress(OSError):
            await self._registry.leave(self.me)
        await self._registry.close()

    async def refresh(self) -> None:
        """One heartbeat and one look at who is alive."""
        await self._registry.heartbeat(self.me)
        alive = await self._registry.nodes()
        self._nodes = {n.id: n for n in alive if n.base_digest == self.me.base_digest}
        self._nodes[self.me.id] = self.me
        if self._ring.nodes != self._nodes.keys():
            self._ring = Ring(self._nodes)

    def nodes(self) -> list[NodeInfo]:
        """The nodes of this base that are thought alive, this one among them."""
        return list(self._nodes.values())

    def preference(self, voice: str) -> list[NodeInfo]:
        """The nodes in the order in which `voice` would be spoken by them."""
        return [self._nodes[node] for node in self._ring.preference(voice)]

    async def _keep_alive(self) -> None:
        # Not only until it is cancelled: redis-py 8 swallows a cancellation now and then.
        while not self._has_left:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                await self.refresh()
            except OSError as error:
                log.warning("the registry cannot be reached, the last known ring stays: %s", error)
