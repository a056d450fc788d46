"""Voices are brought to the nodes that are to speak them, before anybody is sent there.

    heartbeats ─▶ placement's holders ─▶ is this node one that does not hold the bundle?
                                          └─▶ fetch, verify, load, say a few words ─▶ next heartbeat

So a node that joins, and one that a popular voice is spread to, gets its first session of the voice
when it is ready for it. A bundle that nobody speaks with is brought nowhere, and nothing that is
wanted here makes room for another: an idle voice gives its slot back. What cannot be brought is
tried again, after twice as long each time, as long as it is wanted.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass

from orpheus_clone.cluster.membership import Membership
from orpheus_clone.cluster.placement import Wanted
from orpheus_clone.cluster.registry import HEARTBEAT_SECONDS
from orpheus_clone.errors import OrpheusCloneError
from orpheus_clone.serve.node import Node

LONGEST_WAIT_S = 60.0
"""Between two tries: what a store that was away for long costs then."""

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def warming(
    node: Node, membership: Membership, died: Callable[[], None]
) -> AsyncGenerator[None, None]:
    """Bring what is wanted here for the length of the block.

    A bug that ends it is told by `died` at once, and raised as the block ends.
    """

    async def run() -> None:
        warmer = Warmer(node, membership)
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await warmer.bring()

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            log.error("no voice is brought here any more: %r", task.exception())
            died()

    task = asyncio.create_task(run())
    task.add_done_callback(ended)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@dataclass(frozen=True)
class _Failure:
    """Why a bundle could not be brought, and when it is tried again."""

    why: str
    wait_s: float
    until: float


class Warmer:
    """Brings what one node should hold."""

    def __init__(
        self, node: Node, membership: Membership, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._node, self._membership, self._clock = node, membership, clock
        self._failures: dict[str, _Failure] = {}

    async def bring(self) -> None:
        """Load what is wanted here and is not to wait for its next try."""
        wanted = wanted_here(self._membership)
        self._failures = {name: f for name, f in self._failures.items() if name in wanted}
        for name in sorted(wanted):
            failure = self._failures.get(name)
            if failure is None or failure.until <= self._clock():
                await self._try(name, wanted)

    async def _try(self, name: str, wanted: Collection[str]) -> None:
        try:
            await self._node.warm(name, keep=wanted)
            self._failures.pop(name, None)
        except OrpheusCloneError as error:
            last = self._failures.get(name, _Failure("", HEARTBEAT_SECONDS / 2, 0.0))
            wait_s = min(2 * last.wait_s, LONGEST_WAIT_S)
            if str(error) != last.why:
                log.warning("%s is wanted here and cannot be brought yet: %s", name, error)
            self._failures[name] = _Failure(str(error), wait_s, self._clock() + wait_s)


def wanted_here(membership: Membership) -> set[str]:
    """The bundles that somebody in the fleet speaks with and that this node should hold."""
    me = membership.me
    spoken = {b for node in membership.nodes() for b, count in node.load.resident.items() if count}
    holders = membership.placement.holders
    return {
        name
        for name in spoken
        if any(h.id == me.id for h in holders(Wanted(name.partition("@")[0], me.pool, name)))
    }
