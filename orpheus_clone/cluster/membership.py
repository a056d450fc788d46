"""One node's place among the others: its life, its heartbeats, and what it knows of the fleet.

    join ─▶ warming ─▶ become_ready ─▶ ready ─▶ drain ─▶ draining ─▶ leave ─▶ left

What it knows is a copy, so `place` asks nobody. Where the registry cannot be reached, the last
known fleet stays. A change is heard of by a hint, or found at the next heartbeat at the latest.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

from orpheus_clone.cluster.placement import Placement, Wanted
from orpheus_clone.cluster.registry import HEARTBEAT_SECONDS, IdTaken, Registry
from orpheus_clone.cluster.state import Load, NodeState, Phase, next_phase
from orpheus_clone.cluster.view import View
from orpheus_clone.errors import NodeError

log = logging.getLogger(__name__)

HINTS_AS_ONE = 8
"""Of all hints within the eighth part of a heartbeat one is enough."""


class Membership:
    """See the module docstring; `load` is asked at each heartbeat."""

    def __init__(
        self,
        registry: Registry,
        me: NodeState,
        load: Callable[[], Load] = Load,
        *,
        clock: Callable[[], float] = time.monotonic,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.me = replace(me, incarnation=uuid.uuid4().hex, phase=Phase.JOINING)
        self.placement = Placement(clock=clock)
        self._registry = registry
        self._load = load
        self._heartbeat_seconds = heartbeat_seconds
        self._view = View(self.me, clock)
        self._task: asyncio.Task[None] | None = None
        self._refreshing = asyncio.Lock()
        self._is_closed = False

    @property
    def version(self) -> int:
        """Of the fleet's members, as this node knows them."""
        return self._view.version

    async def join(self) -> None:
        """Become known as one that warms up, and go on saying so in the background.

        A node that was killed and started again waits until its last life's time is up. IdTaken if
        that one lives; OSError if the registry cannot be reached.
        """
        self._become(Phase.WARMING)
        await self._claim_id()
        self._task = asyncio.create_task(self._keep_alive())

    async def become_ready(self) -> None:
        """Take new sessions; NodeError if another process has taken the id meanwhile."""
        if self.me.phase is Phase.LEFT:
            raise NodeError(f"this node has lost the id {self.me.id!r}; start it again")
        self._become(Phase.READY)
        await self._try_to_refresh()

    async def drain(self) -> None:
        """Take no new sessions, and finish those there are; nothing to do for one that has left."""
        if self.me.phase is Phase.LEFT:
            return
        self._become(Phase.DRAINING)
        await self._try_to_refresh()

    async def leave(self) -> None:
        """Tell the others, and stop; a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        if self.me.phase is not Phase.LEFT:
            self._become(Phase.LEFT)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        with contextlib.suppress(OSError):
            await self._registry.leave(self.me)
        await self._registry.close()

    async def refresh(self) -> None:
        """One heartbeat and one look at who is alive; IdTaken or OSError, and then all stays."""
        async with self._refreshing:  # or an older phase may be the last that is said
            self.me = replace(self.me, beat=self.me.beat + 1, load=self._load())
            was_known = await self._registry.heartbeat(self.me)
            fleet = await self._registry.fleet()
            self._view.update(fleet, self.me, was_known=was_known)
            self.placement.see(self._view.nodes.values())

    def nodes(self) -> list[NodeState]:
        """The nodes of this one's pool that are thought alive, this one among them."""
        return [node for node in self._view.nodes.values() if node.pool == self.me.pool]

    def everybody(self) -> list[NodeState]:
        """The nodes of every pool that are thought alive, by id."""
        return sorted(self._view.nodes.values(), key=lambda node: node.id)

    def silence(self, node: NodeState) -> float:
        """Seconds since this node first knew of that one's last heartbeat."""
        return self._view.silence(node)

    def preference(self, voice: str) -> list[NodeState]:
        """The ready nodes of this one's pool in the order in which they would speak `voice`."""
        return self.placement.preference(Wanted(voice, self.me.pool))

    def _become(self, phase: Phase) -> None:
        self.me = replace(self.me, phase=next_phase(self.me.phase, phase))
        self._view.nodes[self.me.id] = self.me
        self.placement.see(self._view.nodes.values())

    async def _claim_id(self) -> None:
        """Wait while a dead one holds the id; one whose heart goes on beating is alive."""
        beat: int | None = None
        while True:
            try:
                await self.refresh()
                return
            except IdTaken as error:
                if beat is not None and error.holder.beat != beat:
                    raise
                beat = error.holder.beat
                await asyncio.sleep(self._heartbeat_seconds)

    async def _keep_alive(self) -> None:
        # Not only until it is cancelled: redis-py 8 swallows a cancellation now and then.
        while self.me.phase is not Phase.LEFT:
            await asyncio.sleep(self._heartbeat_seconds / HINTS_AS_ONE)
            await self._registry.hint(self._heartbeat_seconds * (1 - 1 / HINTS_AS_ONE))
            await self._try_to_refresh()

    async def _try_to_refresh(self) -> None:
        try:
            await self.refresh()
        except IdTaken as error:
            self._become(Phase.LEFT)
            log.error("this node was silent for so long that it has lost its id: %s", error)
        except OSError as error:
            log.warning("the registry cannot be reached, the last known ring stays: %s", error)
