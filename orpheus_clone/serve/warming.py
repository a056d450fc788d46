"""Voices are brought to the nodes that are to speak them, before anybody is sent there.

    heartbeats ─▶ placement's holders ─▶ is this node one that does not hold the bundle?
                                          └─▶ fetch, verify, load, say a few words ─▶ next heartbeat

So a node that joins, and one that a popular voice is spread to, gets its first session of the voice
when it is ready for it. A bundle that nobody speaks with is brought nowhere, and nothing that is
wanted here makes room for another: an idle voice gives its slot back.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator

from orpheus_clone.cluster.membership import Membership
from orpheus_clone.cluster.placement import Wanted
from orpheus_clone.cluster.registry import HEARTBEAT_SECONDS
from orpheus_clone.errors import OrpheusCloneError
from orpheus_clone.serve.node import Node

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def warming(
    node: Node, membership: Membership, every_s: float = HEARTBEAT_SECONDS
) -> AsyncGenerator[None, None]:
    """Bring what is wanted here for the length of the block."""

    async def run() -> None:
        failed: set[str] = set()
        while True:
            await asyncio.sleep(every_s)
            failed = await bring(node, membership, failed)

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def bring(node: Node, membership: Membership, failed: set[str]) -> set[str]:
    """Load what this node should hold; what has `failed`, as long as it is wanted, only once."""
    wanted = wanted_here(membership)
    failed = failed & wanted
    for name in sorted(wanted - failed):
        try:
            await node.warm(name, keep=wanted)
        except OrpheusCloneError as error:
            log.warning("%s is wanted here and cannot be brought: %s", name, error)
            failed.add(name)
    return failed


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
