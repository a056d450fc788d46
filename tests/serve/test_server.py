"""How a server ends: what is being heard goes on, whoever comes is told, and the second signal ends
it at once. The application is a small one; signals, connections and sockets are real."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from orpheus_clone.cluster.membership import Membership
from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.cluster.registry import TTL_SECONDS
from orpheus_clone.cluster.state import NodeState, Pool
from orpheus_clone.errors import EngineDead, NodeError
from orpheus_clone.serve.run import bind, watched
from orpheus_clone.serve.server import CLOSE_SECONDS, Server, Sockets, Steps
from tests.serve.talking import Talker, eventually


class Ending:
    """A server whose answers are as long as the test wants."""

    def __init__(self, drain_seconds: float) -> None:
        self.happened: list[str] = []
        self.may_end = asyncio.Event()
        app = Starlette(
            routes=[
                Route("/slow", self.slow),
                Route("/quick", self.quick),
                WebSocketRoute("/echo", self.echo),
            ],
            lifespan=self.lifespan,
        )
        config = uvicorn.Config(
            app, log_config=None, ws=Sockets, timeout_graceful_shutdown=CLOSE_SECONDS
        )
        steps = Steps(self.started, self.draining, drain_seconds)
        self.server = Server(config, steps)
        self.address = ""

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncGenerator[None, None]:
        yield
        self.happened.append("closed")

    async def started(self) -> None:
        self.happened.append("started")

    async def draining(self) -> None:
        self.happened.append("draining")

    async def quick(self, _: Request) -> PlainTextResponse:
        return PlainTextResponse("quick")

    async def slow(self, _: Request) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            yield b"begin "
            await self.may_end.wait()
            yield b"end"

        return StreamingResponse(body())

    async def echo(self, socket: WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        with contextlib.closing(bind("127.0.0.1", 0)) as listening:
            self.address = "{}:{}".format(*listening.getsockname())
            task = asyncio.create_task(self.server.serve(sockets=[listening]))
            await eventually(lambda: self.happened, "it has started")
            try:
                yield
            finally:
                async with asyncio.timeout(10):
                    await task

    async def told(self, number: signal.Signals = signal.SIGTERM) -> None:
        """A signal to this process, which the server has seen."""
        os.kill(os.getpid(), number)
        await eventually(lambda: "draining" in self.happened, "it drains")


async def closed(socket: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as caught:
        await socket.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_what_is_heard_ends_by_itself_and_who_comes_meanwhile_is_answered(
    number: signal.Signals,
) -> None:
    ending = Ending(drain_seconds=60)
    async with (
        ending.running(),
        connect(f"ws://{ending.address}/echo") as socket,
        httpx.AsyncClient(base_url=f"http://{ending.address}") as client,
        client.stream("GET", "/slow") as answer,
    ):
        blocks = answer.aiter_raw()
        assert await anext(blocks) == b"begin "
        await ending.told(number)
        assert (await client.get("/quick")).text == "quick"
        await socket.send("still there?")
        assert await socket.recv() == "still there?"
        ending.may_end.set()
        assert b"".join([block async for block in blocks]) == b"end"
    assert ending.happened == ["started", "draining", "closed"]


async def test_a_socket_that_does_not_end_in_time_is_told_why_it_is_closed() -> None:
    ending = Ending(drain_seconds=0.05)
    async with ending.running(), connect(f"ws://{ending.address}/echo") as socket:
        await ending.told()
        assert await closed(socket) == (1012, "this node stops; open another socket")


async def test_a_second_signal_waits_for_nobody() -> None:
    ending = Ending(drain_seconds=60)
    async with ending.running(), connect(f"ws://{ending.address}/echo") as socket:
        await ending.told()
        await socket.send("still there?")
        assert await socket.recv() == "still there?"
        await ending.told(signal.SIGINT)
        assert (await closed(socket))[0] == 1012
    assert ending.happened[-1] == "closed"


async def test_nobody_is_waited_for_where_nobody_is_heard() -> None:
    ending = Ending(drain_seconds=60)
    async with ending.running(), httpx.AsyncClient() as client:
        await client.get(f"http://{ending.address}/quick")
        ending.server.stop()  # as a dead engine does
    assert ending.happened == ["started", "draining", "closed"]


POOL = Pool("base", "en")


async def test_when_the_engine_dies_the_node_stops_and_says_why() -> None:
    engine, ending = Talker(), Ending(drain_seconds=60)
    members = Membership(MemoryRegistry(), NodeState("one", "http://one", POOL))
    with pytest.raises(EngineDead, match="the node with it; start it again"):
        async with ending.running(), watched(engine, members, ending.server):
            engine.lives = False
            await eventually(lambda: "draining" in ending.happened, "it drains")


async def test_when_another_process_has_its_id_the_node_stops_and_says_why() -> None:
    now, ending = 0.0, Ending(drain_seconds=60)
    registry = MemoryRegistry(lambda: now)
    one, other = (Membership(registry, NodeState("one", f"http://{n}", POOL)) for n in "ab")
    await one.join()
    with pytest.raises(NodeError, match="lost the id 'one'"):
        async with ending.running(), watched(Talker(), one, ending.server):
            now += TTL_SECONDS
            await other.join()
            await one.drain()  # it speaks to the registry again
            await eventually(lambda: "draining" in ending.happened, "it drains")
    assert ending.server.should_exit
    for each in (one, other):
        await each.leave()
