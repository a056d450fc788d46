"""A seat at another node: the session's socket to it, seen from the node that was asked.

    lines ─▶ say ────────▶ one WebSocket ───────▶ hosting, at the node that speaks
    chunks ◀─ a queue for each stream ◀─ sorted ◀─┘

Nothing waits for ever. A node that does not let us in within `OPEN_S`, answers no ping for `PONG_S`
or says nothing for `SILENT_S` while it should speak is given up with a NodeError.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from orpheus_clone.cluster.state import NodeState
from orpheus_clone.errors import DataError, NodeError, OrpheusCloneError
from orpheus_clone.serve import wire
from orpheus_clone.serve.lines import Lines
from orpheus_clone.serve.seats import Order
from orpheus_clone.serve.wire import Answered, Asked
from orpheus_clone.speech import Chunk

OPEN_S = 3.0
"""For the connection, which takes milliseconds to a node that lives."""
PING_S, PONG_S = 2.0, 3.0
"""How often a node is asked whether it lives, and how long it has to answer."""
SILENT_S = 30.0
"""A voice is loaded from a cloud, and says its first word, in less."""
CLOSE_S = 1.0

T = TypeVar("T")


@dataclass
class _Stream:
    """A text that is being spoken."""

    number: int
    heard: asyncio.Queue[Chunk | Answered | None] = field(default_factory=asyncio.Queue)
    """None once nothing more will come."""
    taken: int = 0
    """Chunks that the node was not told of."""
    is_open: bool = False
    """The node knows of it."""


class FarSeat:
    """See the module docstring."""

    def __init__(self, node: NodeState, socket: ClientConnection, bundle: str | None) -> None:
        self.node, self.bundle = node.id, bundle
        self._socket = socket
        self._count = 0
        self._streams: dict[int, _Stream] = {}
        self._lost: OrpheusCloneError | None = None
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def take(
        cls, node: NodeState, order: Order, headers: Mapping[str, str], trust: ssl.SSLContext
    ) -> "FarSeat":
        """Once the voice is ready there; errors as the node told them, NodeError if it did not."""
        try:
            socket = await connect(
                _address(node, order),
                ssl=trust if node.url.startswith("https:") else None,
                additional_headers=headers,
                compression=None,
                proxy=None,
                open_timeout=OPEN_S,
                ping_interval=PING_S,
                ping_timeout=PONG_S,
                close_timeout=CLOSE_S,
            )
        except (OSError, WebSocketException) as error:  # one that is late is an OSError too
            raise NodeError(f"node {node.id} at {node.url} lets nobody in: {error!r}") from None
        try:
            return cls(node, socket, await _bundle(node.id, socket))
        except BaseException:
            await socket.close()
            raise

    async def speak(self, lines: Lines) -> AsyncGenerator[Chunk, None]:
        """See `Seat`."""
        self._count += 1
        stream = self._streams[self._count] = _Stream(self._count)
        try:
            async with aclosing(self._spoken(stream, lines)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            del self._streams[stream.number]
            if stream.is_open:
                with suppress(OrpheusCloneError):
                    await self._ask(Asked(stream=stream.number, cancel=True))

    async def close(self) -> None:
        """See `Seat`."""
        await self._socket.close()
        await self._reading

    async def _spoken(self, stream: _Stream, lines: Lines) -> AsyncGenerator[Chunk, None]:
        """One utterance after the other, and what is left at the end."""
        while (utterance := await lines.next()) is not None:
            stream.is_open = True
            await self._ask(Asked(stream=stream.number, say=utterance, more=lines.is_there))
            while (chunk := await self._next(stream)) is not None:
                yield chunk
        if stream.is_open:
            await self._ask(Asked(stream=stream.number, end=True))
            while (chunk := await self._next(stream)) is not None:
                yield chunk
            stream.is_open = False

    async def _next(self, stream: _Stream) -> Chunk | None:
        """The next chunk; None where the node wants the next utterance, or has said all."""
        if stream.taken == wire.TOOK:
            stream.taken = 0
            await self._ask(Asked(stream=stream.number, took=wire.TOOK))
        if self._lost is not None and stream.heard.empty():
            raise self._lost
        heard = await _in_time(self.node, stream.heard.get())
        if isinstance(heard, Chunk):
            stream.taken += 1
            return heard
        if heard is None:
            raise self._lost or _failed(self.node, "it hung up")
        if heard.error is not None:
            stream.is_open = False
            raise wire.raised(heard.error)
        return None

    async def _ask(self, asked: Asked) -> None:
        try:
            await self._socket.send(asked.model_dump_json(exclude_defaults=True))
        except ConnectionClosed as error:
            raise self._lost or _failed(self.node, str(error)) from None

    async def _read(self) -> None:
        """Sort what comes by its stream, until nothing more does."""
        self._lost = await self._sorted()
        for stream in self._streams.values():
            stream.heard.put_nowait(None)

    async def _sorted(self) -> OrpheusCloneError:
        """Why nothing more comes."""
        try:
            async for message in self._socket:
                number, heard = _read(message)
                if number in self._streams:  # of others nobody wants to hear any more
                    self._streams[number].heard.put_nowait(heard)
            return _failed(self.node, "it hung up")
        except (ConnectionClosed, DataError) as error:
            return _failed(self.node, str(error))


def _address(node: NodeState, order: Order) -> str:
    """Of the session's socket: http becomes ws, https wss."""
    wanted = order.wanted
    query = {"voice": wanted.voice, "arm": order.arm, "patience_s": order.patience_s}
    if wanted.bundle is not None:
        query["bundle"] = wanted.bundle
    return f"ws{node.url.removeprefix('http').rstrip('/')}{wire.PATH}?{urlencode(query)}"


async def _bundle(node: str, socket: ClientConnection) -> str | None:
    """Who speaks, as the node's first message tells."""
    try:
        first = wire.answered(str(await _in_time(node, socket.recv())))
    except (ConnectionClosed, DataError) as error:
        raise _failed(node, str(error)) from None
    if first.error is not None:
        raise wire.raised(first.error)
    return first.bundle


def _read(message: str | bytes) -> tuple[int | None, Chunk | Answered]:
    if isinstance(message, bytes):
        return wire.unpacked(message)
    answered = wire.answered(message)
    return answered.stream, answered


async def _in_time(node: str, coming: Coroutine[Any, Any, T]) -> T:
    try:
        async with asyncio.timeout(SILENT_S):
            return await coming
    except TimeoutError:
        raise _failed(node, f"it has said nothing for {SILENT_S:g} s") from None


def _failed(node: str, why: str) -> NodeError:
    return NodeError(f"node {node} has failed: {why}")
