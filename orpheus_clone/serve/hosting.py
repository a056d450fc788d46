"""Sessions of other nodes' clients, spoken here: the other end of `remote`.

    open ─▶ a seat ─▶ asked ─▶ its stream ─▶ a task: OwnSeat ─▶ chunks ─▶ answered
     ▲                 ├─ end of the session ──────▶ every task is cancelled, the seat given back
     └─────────────────┘  the other node is gone ──▶ likewise

A socket carries one session after the other. What is said here is never carried on to a third node:
whatever two of them think of who holds a voice, nothing runs in circles.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from orpheus_clone import layout
from orpheus_clone.cluster.placement import Wanted
from orpheus_clone.cluster.state import NodeState, Pool
from orpheus_clone.errors import DataError, EngineError, NodeError, OrpheusCloneError
from orpheus_clone.serve import logs, tracing, wire
from orpheus_clone.serve.seats import Order, OwnSeat
from orpheus_clone.serve.server import RESTARTS
from orpheus_clone.serve.service import Service
from orpheus_clone.serve.wire import Answered, Asked, Opening

log = logging.getLogger(__name__)

POLICY = 1008
LOOK_S = 1.0
"""How often a socket on which nobody speaks looks whether the node is about to stop."""
MOST_ASKED = 2
"""Utterances, or the end, that are not begun: each is sent when it is wanted, not before."""


def routes(service: Service) -> APIRouter:
    """The sockets between nodes; the gate lets nobody else in."""
    router = APIRouter()

    @router.websocket(wire.PATH)
    async def sessions(socket: WebSocket) -> None:
        await socket.accept()
        with suppress(WebSocketDisconnect):
            await _Hosted(service, socket).run()

    return router


def _order(opening: Opening, me: NodeState) -> Order:
    """DataError for a name that could lead anywhere, NodeError for the voice of another base."""
    voice, bundle = opening.voice, opening.bundle
    if bundle is not None and not layout.is_bundle_name(bundle, voice):
        raise DataError(f"{bundle!r} is no bundle of {voice!r}")
    pool = Pool(opening.base_digest, opening.language)
    if pool != me.pool:
        raise NodeError(
            f"node {me.id} speaks {me.pool.language!r} with the base {me.pool.base_digest[:12]}; "
            f"{voice!r} wants {pool.language!r} and {pool.base_digest[:12]}"
        )
    return Order(Wanted(voice, pool, bundle), opening.arm, opening.patience_s)


async def _tell(socket: WebSocket, answered: Answered) -> None:
    await _sent(socket.send_text(answered.model_dump_json(exclude_defaults=True)))


async def _sent(sending: Awaitable[None]) -> None:
    """WebSocketDisconnect where the other end hung up, or we did."""
    try:
        await sending
    except RuntimeError:  # what Starlette raises then, as torch and others do for much else
        raise WebSocketDisconnect from None


class _Stream:
    """A text that is said to us utterance by utterance; see `turns.Text`."""

    def __init__(self, number: int, ask: Callable[[Answered], Awaitable[None]]) -> None:
        self.number = number
        self.room = asyncio.Semaphore(wire.WINDOW)
        """Chunks that may be sent before the other node takes one."""
        self.began = time.perf_counter()
        self.is_over = False
        self._ask = ask
        self._said: asyncio.Queue[str | None] = asyncio.Queue(MOST_ASKED)
        self._is_first = self._has_more = True
        self._is_waiting = False

    @property
    def is_there(self) -> bool:
        """Whether an utterance is to be spoken now, here or on its way."""
        return self._has_more

    @property
    def is_silent(self) -> bool:
        """Whether all that was asked is said, and nothing else is on its way."""
        return self._is_waiting and self._said.empty() and not self._has_more

    async def next(self) -> str | None:
        """The next utterance; None after the last."""
        if not self._is_first:
            await self._ask(Answered(stream=self.number, wanted=True))
        self._is_first, self._is_waiting = False, True
        utterance = await self._said.get()
        self._is_waiting, self.is_over = False, utterance is None
        return utterance

    def follow(self, asked: Asked) -> None:
        """What is asked of it, all but to be cancelled; DataError for more than was wanted."""
        if asked.say is not None or asked.more:
            self._has_more = asked.more
        try:
            if asked.say is not None:
                self._said.put_nowait(asked.say)
            if asked.end:
                self._said.put_nowait(None)
        except asyncio.QueueFull:
            raise DataError(f"stream {self.number} was told more than it wanted") from None
        for _ in range(min(asked.took, wire.WINDOW)):
            self.room.release()


class _Hosted:
    """Another node's socket."""

    def __init__(self, service: Service, socket: WebSocket) -> None:
        self._service, self._socket = service, socket
        self._streams: dict[int, tuple[_Stream, asyncio.Task[None]]] = {}
        """Of the session that is open."""

    async def run(self) -> None:
        """Session after session, until the other node leaves or this one is about to stop."""
        try:
            while (asked := await self._asked()) is not None:
                if asked.open is None:
                    raise DataError("no session is open")
                with tracing.session(asked.open.trace):
                    await self._session(asked.open)
        except DataError as error:
            await self._refuse(error)

    async def _session(self, opening: Opening) -> None:
        began = time.perf_counter()
        logs.bind(voice=opening.voice)
        try:
            order = _order(opening, self._service.membership.me)
            seat = await OwnSeat.take(self._service, order)
        except OrpheusCloneError as error:
            await _tell(self._socket, Answered(error=wire.failure(error)))
            return
        try:
            await _tell(self._socket, Answered(bundle=seat.bundle))
            await self._streaming(seat)
        finally:
            await seat.close()
            seconds = time.perf_counter() - began
            log.info("session of another node's client: over, %.2f s", seconds)

    async def _streaming(self, seat: OwnSeat) -> None:
        """Until the session is over."""
        async with asyncio.TaskGroup() as tasks:
            try:
                while (asked := await self._asked()) is not None and not asked.is_session_over:
                    self._follow(asked, seat, tasks)
            except DataError as error:
                await self._refuse(error)
            finally:
                for _, task in self._streams.values():
                    task.cancel()
                self._streams.clear()

    async def _asked(self) -> Asked | None:
        """What is asked next; None once one of the two nodes has hung up."""
        while not self._is_closed:
            try:
                async with asyncio.timeout(LOOK_S):
                    received = await self._socket.receive()
            except TimeoutError:
                if self._service.admission.is_draining and self._is_silent:
                    await self._close(RESTARTS, "this node stops; go to another")
                continue
            if received["type"] == "websocket.receive":
                return wire.asked(str(received.get("text") or ""))
        return None

    @property
    def _is_closed(self) -> bool:
        ends = (self._socket.client_state, self._socket.application_state)
        return WebSocketState.DISCONNECTED in ends

    @property
    def _is_silent(self) -> bool:
        return all(stream.is_silent for stream, _ in self._streams.values())

    async def _refuse(self, error: DataError) -> None:
        await self._close(POLICY, str(error)[:100])

    async def _close(self, code: int, reason: str) -> None:
        with suppress(WebSocketDisconnect):
            await self._socket.close(code, reason)

    def _follow(self, asked: Asked, seat: OwnSeat, tasks: asyncio.TaskGroup) -> None:
        if asked.stream is None:
            raise DataError("a session is open, and this is of no stream of it")
        if asked.stream not in self._streams:
            if asked.say is None:
                return  # it ended while this was on its way
            most = self._service.limits.contexts
            if len(self._streams) >= most:
                raise DataError(f"more than {most} streams in one session")
            stream = _Stream(asked.stream, partial(_tell, self._socket))
            self._streams[stream.number] = (stream, tasks.create_task(self._speak(stream, seat)))
        stream, task = self._streams[asked.stream]
        stream.follow(asked)
        if asked.cancel:
            del self._streams[asked.stream]
            task.cancel()

    async def _speak(self, stream: _Stream, seat: OwnSeat) -> None:
        with suppress(WebSocketDisconnect):
            try:
                await self._sound(stream, seat)
                ending = Answered(stream=stream.number, over=True)
            except OrpheusCloneError as error:
                ending = Answered(stream=stream.number, error=wire.failure(error))
            except WebSocketDisconnect:
                raise
            except Exception as error:
                log.exception("a session of another node's client failed")
                failed = EngineError(f"this node could not speak it: {type(error).__name__}")
                ending = Answered(stream=stream.number, error=wire.failure(failed))
            await _tell(self._socket, ending)
            self._streams.pop(stream.number, None)

    async def _sound(self, stream: _Stream, seat: OwnSeat) -> None:
        tokens = 0
        async with aclosing(seat.sound(stream, lambda: stream.began)) as chunks:
            async for chunk in chunks:
                tokens += chunk.tokens
                if len(chunk.samples) or chunk.finish is not None:
                    await stream.room.acquire()
                    packed = wire.packed(stream.number, replace(chunk, tokens=tokens))
                    await _sent(self._socket.send_bytes(packed))
                    tokens = 0
