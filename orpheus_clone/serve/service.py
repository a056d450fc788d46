"""What the routes of a node work with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Header, HTTPException

from orpheus_clone.cluster.membership import Membership
from orpheus_clone.serve.auth import Keys
from orpheus_clone.serve.metrics import Metrics
from orpheus_clone.serve.node import Node


@dataclass(frozen=True)
class Service:
    """A node, its place in the cluster, its keys and its figures."""

    node: Node
    membership: Membership
    keys: Keys
    metrics: Metrics = field(default_factory=Metrics)


def key_wanted(keys: Keys) -> Callable[[str | None], Awaitable[None]]:
    """A dependency that answers 401 to requests without an accepted key."""

    async def check(authorization: Annotated[str | None, Header()] = None) -> None:
        if not keys.accept(authorization):
            raise HTTPException(
                401, "a key is wanted: Authorization: Bearer KEY", {"www-authenticate": "Bearer"}
            )

    return check
