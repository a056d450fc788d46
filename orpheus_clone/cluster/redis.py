"""The registry in Redis (or Valkey); keys and times to live are in `keys`, the steps in `scripts`.

Connections are made when they are first used. The one that listens for hints is made anew when it
breaks, and says nothing of it: a hint that is missed is found at the next look.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from orpheus_clone.cluster import keys, scripts
from orpheus_clone.cluster.registry import Fleet, IdTaken
from orpheus_clone.cluster.state import NodeState

log = logging.getLogger(__name__)


class RedisRegistry:
    """See `Registry`."""

    def __init__(self, url: str) -> None:
        import redis.asyncio as redis

        self._redis: Any = redis.from_url(
            url, decode_responses=True, socket_timeout=2, socket_connect_timeout=2
        )
        self._error: type[Exception] = redis.RedisError
        self._heartbeat = self._redis.register_script(scripts.HEARTBEAT)
        self._leave = self._redis.register_script(scripts.LEAVE)
        self._fleet = self._redis.register_script(scripts.FLEET)
        self._listening: Any = None

    async def heartbeat(self, node: NodeState) -> bool:
        """Join, or say that the node is still there; whether it was known."""
        touched = [keys.NODE + node.id, keys.NODES, keys.VERSION]
        said = [node.id, node.to_json(), keys.TTL_MS, keys.KEEP_SECONDS, keys.CHANGES]
        with self._os_errors():
            answer: str | None = await self._heartbeat(touched, said)
        if answer:
            raise IdTaken(_read(answer) or replace(node, url="an address that cannot be read"))
        return answer is not None

    async def leave(self, node: NodeState) -> None:
        """Be gone at once."""
        touched = [keys.NODE + node.id, keys.NODES, keys.VERSION]
        said = [node.id, node.incarnation, keys.KEEP_SECONDS, keys.CHANGES]
        with self._os_errors():
            await self._leave(touched, said)

    async def fleet(self) -> Fleet:
        """All nodes that are alive, and the version."""
        with self._os_errors():
            version, values = await self._fleet(
                [keys.NODES, keys.VERSION], [keys.NODE, keys.KEEP_SECONDS, keys.CHANGES]
            )
        found = map(_read, values)
        return Fleet(int(version), [node for node in found if node is not None])

    async def hint(self, seconds: float) -> None:
        """Wait until the version may have changed, or so long."""
        until = time.monotonic() + seconds
        try:
            if self._listening is None:
                self._listening = self._redis.pubsub(ignore_subscribe_messages=True)
                await self._listening.subscribe(keys.CHANGES)
                return  # what was said until now was not heard
            await self._heard(until)
        except self._error:
            await self._stop_listening()
            await asyncio.sleep(max(0.0, until - time.monotonic()))

    async def close(self) -> None:
        """Close the connections."""
        await self._stop_listening()
        await self._redis.aclose()

    async def _heard(self, until: float) -> None:
        """Take one message and all that have come since; none when the time is up."""
        while (left := until - time.monotonic()) > 0:
            if await self._listening.get_message(timeout=left) is not None:
                while await self._listening.get_message(timeout=0) is not None:
                    pass
                return

    async def _stop_listening(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            with contextlib.suppress(self._error):
                await listening.aclose()

    @contextlib.contextmanager
    def _os_errors(self) -> Iterator[None]:
        """Redis's errors as the OSError that the protocol promises."""
        try:
            yield
        except self._error as error:
            raise ConnectionError(f"Redis: {error}") from error


def _read(value: str) -> NodeState | None:
    """A node, or None if it is nothing that we can read: not one of ours to talk to."""
    try:
        return NodeState.from_json(value)
    except ValueError as error:
        log.warning("an entry in the registry is passed over: %s (%s)", value, error)
        return None
