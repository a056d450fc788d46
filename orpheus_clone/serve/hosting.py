"""A session of another node's client, spoken here: the other end of `remote`.

    asked ─▶ its stream ─▶ a task: OwnSeat ─▶ chunks ─▶ answered
      └─ the other node is gone, or its client ─────▶ every task is cancelled

What is said here is never carried on to a third node: whatever two of them think of who holds a
voice, nothing runs in circles.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.websockets import WebSocket, WebSocketDisconnect

from orpheus_clone import layout
from orpheus_clone.cluster.placement import Wanted
from orpheus_clone.errors import DataError, EngineError, OrpheusCloneError
from orpheus_clone.serve import logs, wire
from orpheus_clone.serve.seats import Order, OwnSeat
from orpheus_clone.serve.server import RESTARTS
from orpheus_clone.serve.service import Service
from orpheus_clone.serve.wire import Answered, Asked
from orpheus_clone.store.pointer import Arm

log = logging.getLogger(__name__)

POLICY = 1008
LONGEST_PATIENCE_S = 60.0
LOOK_S = 1.0
"""How often a session in which nobody speaks looks whether the node is about to stop."""


def routes(service: Service) -> APIRouter:
    """The sockets between nodes; the gate lets nobody else in."""
    router = APIRouter()

    @router.websocket(wire.PATH)
    async def session(
        socket: WebSocket,
        voice: str,
        bundle: str | None = None,
        arm: Arm = "current",
        patience_s: Annotated[float, Query(ge=0, le=LONGEST_PATIENCE_S)] = 0.0,
    ) -> None:
        await socket.accept()
        logs.bind(voice=voice)
        wanted = Wanted(voice, service.membership.me.pool, bundle)
        with suppress(WebSocketDisconnect):
            await _host(service, socket, Order(wanted, arm, patience_s))

    return router


async def _host(service: Service, socket: WebSocket, order: Order) -> None:
    """Serve the other node until it leaves."""
    try:
        _check(order.wanted)
        seat = await OwnSeat.take(service, order)
    except OrpheusCloneError as error:
        await _tell(socket, Answered(error=wire.failure(error)))
        await socket.close()
        return
    try:
        await _tell(socket, Answered(bundle=seat.bundle))
        await _Hosted(service, socket, seat).run()
    finally:
        await seat.close()


def _check(wanted: Wanted) -> None:
    """DataError for a name that could lead anywhere."""
    if wanted.bundle is None or layout.is_bundle_name(wanted.bundle, wanted.voice):
        return
    raise DataError(f"{wanted.bundle!r} is no bundle of {wanted.voice!r}")


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
        self._said: asyncio.Queue[str | None] = asyncio.Queue()
        self._is_first = self._has_more = True

    @property
    def is_there(self) -> bool:
        """Whether an utterance is to be spoken now, here or on its way."""
        return self._has_more

    async def next(self) -> str | None:
        """The next utterance; None after the last."""
        if not self._is_first:
            await self._ask(Answered(stream=self.number, wanted=True))
        self._is_first = False
        utterance = await self._said.get()
        self.is_over = utterance is None
        return utterance

    def follow(self, asked: Asked) -> None:
        """What is asked of it; all but to be cancelled."""
        if asked.say is not None:
            self._has_more = asked.more
            self._said.put_nowait(asked.say)
        if asked.end:
            self._said.put_nowait(None)
        for _ in range(min(asked.took, wire.WINDOW)):
            self.room.release()


class _Hosted:
    """A session that has its seat."""

    def __init__(self, service: Service, socket: WebSocket, seat: OwnSeat) -> None:
        self._admission, self._most = service.node.admission, service.limits.contexts
        self._socket, self._seat = socket, seat
        self._streams: dict[int, tuple[_Stream, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Until the other node leaves, or this one is about to stop and nobody speaks."""
        async with asyncio.TaskGroup() as tasks:
            try:
                while (message := await self._received()) is not None:
                    self._follow(wire.asked(message), tasks)
            except DataError as error:
                await self._socket.close(POLICY, str(error)[:100])
            finally:
                for _, task in self._streams.values():
                    task.cancel()

    async def _received(self) -> str | None:
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    received = await self._socket.receive()
            except TimeoutError:
                if self._admission.is_draining and not self._streams:
                    await self._socket.close(RESTARTS, "this node stops; go to another")
                    return None
                continue
            is_message = received["type"] == "websocket.receive"
            return str(received.get("text") or "") if is_message else None

    def _follow(self, asked: Asked, tasks: asyncio.TaskGroup) -> None:
        if asked.stream not in self._streams:
            if asked.say is None:
                return  # it ended while this was on its way
            if len(self._streams) >= self._most:
                raise DataError(f"more than {self._most} streams in one session")
            stream = _Stream(asked.stream, partial(_tell, self._socket))
            self._streams[stream.number] = (stream, tasks.create_task(self._speak(stream)))
        stream, task = self._streams[asked.stream]
        stream.follow(asked)
        if asked.cancel:
            del self._streams[asked.stream]
            task.cancel()

    async def _speak(self, stream: _Stream) -> None:
        with suppress(WebSocketDisconnect):
            try:
                await self._sound(stream)
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

    async def _sound(self, stream: _Stream) -> None:
        tokens = 0
        async with aclosing(self._seat.sound(stream, lambda: stream.began)) as chunks:
            async for chunk in chunks:
                tokens += chunk.tokens
                if len(chunk.samples) or chunk.finish is not None:
                    await stream.room.acquire()
                    packed = wire.packed(stream.number, replace(chunk, tokens=tokens))
                    await _sent(self._socket.send_bytes(packed))
                    tokens = 0
