"""The registry in Redis (or Valkey): one key a node, which dies unless it is renewed.

    orpheus-clone:node:<id>   JSON of NodeInfo, expires after TTL_SECONDS

Nothing that must last is kept here: a flushed Redis is whole again after one heartbeat.
"""

import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from orpheus_clone.cluster.registry import TTL_SECONDS, NodeInfo

log = logging.getLogger(__name__)

PREFIX = "orpheus-clone:node:"


class RedisRegistry:
    """See `Registry`."""

    def __init__(self, url: str) -> None:
        import redis.asyncio as redis

        self._redis: Any = redis.from_url(
            url, decode_responses=True, socket_timeout=2, socket_connect_timeout=2
        )
        self._error: type[Exception] = redis.RedisError

    async def heartbeat(self, node: NodeInfo) -> None:
        """Join, or say that the node is still there."""
        with self._os_errors():
            await self._redis.set(
                PREFIX + node.id, json.dumps(asdict(node)), px=round(TTL_SECONDS * 1000)
            )

    async def leave(self, node: NodeInfo) -> None:
        """Be gone at once."""
        with self._os_errors():
            await self._redis.delete(PREFIX + node.id)

    async def nodes(self) -> list[NodeInfo]:
        """All nodes that are alive."""
        with self._os_errors():
            keys = [key async for key in self._redis.scan_iter(match=PREFIX + "*", count=1000)]
            values = await self._redis.mget(keys) if keys else []
        found = [_read(value) for value in values if value is not None]
        return [node for node in found if node is not None]

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    @contextlib.contextmanager
    def _os_errors(self) -> Iterator[None]:
        """Redis's errors as the OSError that the protocol promises."""
        try:
            yield
        except self._error as error:
            raise ConnectionError(f"Redis: {error}") from error


def _read(value: str) -> NodeInfo | None:
    """A node, or None if a version that we cannot read wrote it: not one of ours to talk to."""
    try:
        return NodeInfo(**json.loads(value))
    except (ValueError, TypeError) as error:
        log.warning("an entry in the registry is passed over: %s (%s)", value, error)
        return None
