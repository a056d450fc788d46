"""`GET /v1/nodes`: the fleet as this node knows it, and who speaks which voice.

    {"node": id, "version": n, "owners": {voice: [node ids]},
     "nodes": [{id, url, phase, pool, load, version, cap, silent_s}, …]}

A node's own words of its last heartbeat, the sessions that each of its pool may have now, and how
long ago this node heard of it. Owners are the nodes of this one's pool that should have a published
voice ready, the one it prefers first.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from fastapi import APIRouter

from orpheus_clone.cluster.placement import Wanted
from orpheus_clone.cluster.state import NodeState
from orpheus_clone.errors import ArtifactError, StoreError
from orpheus_clone.serve.node import Node
from orpheus_clone.serve.service import Service
from orpheus_clone.store import Pointer

FRESH_SECONDS = 5.0
"""How late a voice that was published elsewhere may be seen: whoever watches asks often, and a
store in a cloud is asked once for each voice."""

log = logging.getLogger(__name__)


def routes(service: Service) -> APIRouter:
    """GET /v1/nodes."""
    router = APIRouter()
    published = _Published(service.node)

    @router.get("/v1/nodes")
    async def nodes() -> dict[str, Any]:
        members = service.membership
        pointers = await service.node.ask(published.pointers)
        wanted = [Wanted(pointer.voice, members.me.pool, pointer.shown) for pointer in pointers]
        holders = members.placement.holders
        return {
            "node": members.me.id,
            "version": members.version,
            "nodes": [_said(service, node) for node in members.everybody()],
            "owners": {want.voice: [node.id for node in holders(want)] for want in wanted},
        }

    return router


def _said(service: Service, node: NodeState) -> dict[str, Any]:
    said = asdict(node)
    del said["incarnation"], said["beat"]
    members = service.membership
    cap, silent_s = members.placement.cap(node.pool), round(members.silence(node), 1)
    return said | {"cap": cap, "silent_s": silent_s}


@dataclass
class _Published:
    """The published voices, asked for now and then; the last ones stay where no answer comes."""

    node: Node
    clock: Callable[[], float] = time.monotonic
    _known: tuple[Pointer, ...] = ()
    _until: float = float("-inf")

    def pointers(self) -> tuple[Pointer, ...]:
        """By voice."""
        if self.clock() >= self._until:
            self._until = self.clock() + FRESH_SECONDS
            try:
                named = self.node.published()
                self._known = tuple(pointer for pointer, error in named if not error)
            except (StoreError, ArtifactError) as error:
                log.warning("the published voices cannot be listed, the last known stay: %s", error)
        return self._known
