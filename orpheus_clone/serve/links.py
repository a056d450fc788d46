"""The sockets to other nodes: each carries a session at a time, and then waits for the next.

    warm, or connect ─▶ a session ─ keep ─▶ it ended well: idle for `IDLE_S` ─▶ closed
                                      └───▶ something failed, or enough are idle: closed

To connect costs more than all else of a session that is carried, so what was connected is used
again. One that broke while it was idle is no sign that its node did: connect anew.

Nothing waits for ever. A node that does not let us in within `OPEN_S`, answers no ping for `PONG_S`
or says nothing for `SILENT_S` while it should is given up with a NodeError.
"""

import asyncio
import logging
import ssl
from typing import TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from orpheus_clone.cluster.state import NodeState
from orpheus_clone.errors import Busy, DataError, NodeError
from orpheus_clone.serve import wire
from orpheus_clone.serve.auth import NodeSecret
from orpheus_clone.serve.wire import Answered, Asked, Opening
from orpheus_clone.speech import Chunk

OPEN_S = 3.0
"""For the connection, which takes milliseconds to a node that lives."""
PING_S, PONG_S = 2.0, 3.0
"""How often a node is asked whether it lives, and how long it has to answer."""
SILENT_S = 30.0
"""A voice is loaded from a cloud, and says its first word, in less."""
CLOSE_S = 1.0
IDLE_S = 10.0
"""For which a socket waits for the next session."""
MOST_IDLE = 8
"""Sockets to one node that wait at a time."""
TOO_MANY = 429
"""What a node, or a balancer before it, answers where it is busy and has not failed."""

T = TypeVar("T")
Heard = asyncio.Queue[Chunk | Answered | None]
"""What comes of a stream; None once nothing more will."""

log = logging.getLogger(__name__)


class Link:
    """A socket to another node; what comes over it is sorted by its stream."""

    def __init__(self, node: NodeState, socket: ClientConnection) -> None:
        self.node = node
        self.lost: NodeError | None = None
        """Why nothing more comes, or nothing that could be relied on."""
        self._socket = socket
        self._count = 0
        """Of streams, in all sessions: what is late is nobody else's."""
        self._streams: dict[int, Heard] = {}
        self._told: asyncio.Queue[Answered | None] = asyncio.Queue()
        """What comes of the session as a whole."""
        self._reading = asyncio.create_task(self._read())

    @property
    def is_free(self) -> bool:
        """Whether it could carry another session."""
        return self.lost is None and not self._streams

    async def open(self, opening: Opening) -> Answered:
        """The answer to a session that is asked for; NodeError where none comes."""
        await self.ask(Asked(open=opening))
        return await self.next(self._told)

    def listen(self) -> tuple[int, Heard]:
        """A new stream's number, and what will come of it until it is `left`."""
        self._count += 1
        heard = self._streams[self._count] = Heard()
        return self._count, heard

    def left(self, stream: int) -> None:
        """Nobody listens to a stream any more."""
        del self._streams[stream]

    async def ask(self, asked: Asked) -> None:
        """NodeError where the socket is closed."""
        try:
            await self._socket.send(asked.model_dump_json(exclude_defaults=True))
        except ConnectionClosed as error:
            raise self.lost or self.failed(str(error)) from None

    async def next(self, heard: asyncio.Queue[T | None]) -> T:
        """The next that comes; NodeError once nothing does, or nothing has for `SILENT_S`."""
        if self._reading.done() and heard.empty():
            raise self.lost or self.failed("it hung up")
        try:
            async with asyncio.timeout(SILENT_S):
                came = await heard.get()
        except TimeoutError:
            raise self.failed(f"it has said nothing for {SILENT_S:g} s") from None
        if came is None:
            raise self.lost or self.failed("it hung up")
        return came

    def failed(self, why: str) -> NodeError:
        """The error to raise; the socket is not used again."""
        self.lost = self.lost or NodeError(f"node {self.node.id} has failed: {why}")
        return self.lost

    async def close(self) -> None:
        """What still listens hears that it is closed."""
        self.failed("its socket was closed")
        await self._socket.close()
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        """Sort what comes, until nothing more does."""
        try:
            async for message in self._socket:
                self._sort(message)
            self.failed("it hung up")
        except (ConnectionClosed, DataError) as error:
            self.failed(str(error))
        self._told.put_nowait(None)
        for heard in self._streams.values():
            heard.put_nowait(None)

    def _sort(self, message: str | bytes) -> None:
        stream: int | None
        came: Chunk | Answered
        if isinstance(message, bytes):
            stream, came = wire.unpacked(message)
        else:
            came = wire.answered(message)
            stream = came.stream
            if stream is None:
                self._told.put_nowait(came)
        if stream in self._streams:  # of others nobody wants to hear any more
            self._streams[stream].put_nowait(came)


class Links:
    """See the module docstring."""

    def __init__(self, secret: NodeSecret, trust: ssl.SSLContext) -> None:
        self._secret, self._trust = secret, trust
        self._idle: dict[Link, asyncio.Task[None]] = {}
        """Those used last are last; each with what will close it."""
        self._is_closed = False

    def warm(self, node: NodeState) -> Link | None:
        """A socket to that node that is idle, if there is one."""
        for link in reversed(self._idle):
            if link.node.life == node.life and link.is_free:
                self._idle.pop(link).cancel()
                return link
        return None

    async def connect(self, node: NodeState) -> Link:
        """A new socket; Busy where the node says that it is, NodeError where it lets nobody in."""
        try:
            socket = await connect(
                f"ws{node.url.removeprefix('http').rstrip('/')}{wire.PATH}",  # https becomes wss
                ssl=self._trust if node.url.startswith("https:") else None,
                additional_headers=self._secret.headers(),
                compression=None,
                proxy=None,
                open_timeout=OPEN_S,
                ping_interval=PING_S,
                ping_timeout=PONG_S,
                close_timeout=CLOSE_S,
            )
        except (OSError, WebSocketException) as error:  # one that is late is an OSError too
            log.warning("node %s at %s lets nobody in: %r", node.id, node.url, error)
            raise _refused(node, error) from None
        return Link(node, socket)

    async def keep(self, link: Link) -> None:
        """Take back a socket whose session has ended, for the next one if all of it has."""
        alike = sum(other.node.life == link.node.life for other in self._idle)
        if self._is_closed or not link.is_free or alike >= MOST_IDLE:
            await link.close()
        else:
            self._idle[link] = asyncio.create_task(self._expire(link))

    async def close(self) -> None:
        """Close those that are idle, and from now on each that is taken back."""
        self._is_closed = True
        for expiry in self._idle.values():
            expiry.cancel()
        await asyncio.gather(*(link.close() for link in self._idle))
        self._idle.clear()

    async def _expire(self, link: Link) -> None:
        await asyncio.sleep(IDLE_S)
        await link.close()
        del self._idle[link]


def _refused(node: NodeState, error: Exception) -> Busy | NodeError:
    """The address is the log's: a client is told of the node alone."""
    if isinstance(error, InvalidStatus) and error.response.status_code == TOO_MANY:
        wait = error.response.headers.get("retry-after", "")
        return Busy(f"node {node.id} is busy; try again later", int(wait) if wait.isdigit() else 2)
    return NodeError(f"node {node.id} lets nobody in; the log of the node that was asked says why")
