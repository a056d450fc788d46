"""An engine that hangs, though its process lives, is given up; one that is slow is not."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest

from orpheus_clone.bundle import Adapter
from orpheus_clone.engine.base import Delta, Request
from orpheus_clone.errors import EngineDead
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling
from orpheus_clone.serve.bounded import BoundedEngine
from tests.serve.neighbours import Neighbour, neighbours, speakers
from tests.serve.talking import Talker, eventually

SILENT_S = 0.3
REQUEST = Request([1], Sampling(), 100)
ADAPTER = Adapter("jack@0", Path("nowhere"), "0" * 64)
TEXT = "One morning there was a bird."


class Held(Talker):
    """One that goes on when it is told to, for everybody or for `lucky` alone."""

    def __init__(self) -> None:
        super().__init__(frames=None)
        self.goes_on = asyncio.Event()
        self.lucky: Request | None = None

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        async with aclosing(super().generate(request)) as deltas:
            async for delta in deltas:
                if request is not self.lucky:
                    await self.goes_on.wait()
                yield delta

    async def load(self, adapter: Adapter) -> None:
        await self.goes_on.wait()


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def engine(held: Held) -> BoundedEngine:
    return BoundedEngine(held, SILENT_S)


async def first(engine: BoundedEngine, request: Request = REQUEST) -> Delta:
    async with aclosing(engine.generate(request)) as deltas:
        return await anext(deltas)


async def test_an_engine_that_hangs_is_dead_for_all_who_wait_for_it(
    engine: BoundedEngine, held: Held
) -> None:
    waiting = [first(engine), first(engine), engine.load(ADAPTER)]
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [EngineDead] * 3
    assert "hangs" in str(ends[0])
    assert (engine.is_alive(), held.open) == (False, 0)
    with pytest.raises(EngineDead):
        await first(engine)


async def test_one_that_makes_something_for_somebody_is_only_slow(
    engine: BoundedEngine, held: Held
) -> None:
    loop = asyncio.get_running_loop()
    until, held.lucky = loop.time() + 3 * SILENT_S, Request([2], Sampling(), 100)
    async with asyncio.TaskGroup() as tasks:
        unlucky = tasks.create_task(first(engine))
        while loop.time() < until:
            async with aclosing(engine.generate(held.lucky)) as deltas:
                async for _ in deltas:
                    assert not unlucky.done()
        held.goes_on.set()
    assert unlucky.result().tokens
    assert engine.is_alive()


async def test_where_nobody_waits_for_it_an_engine_may_be_silent(
    engine: BoundedEngine, held: Held
) -> None:
    loop, held.lucky = asyncio.get_running_loop(), REQUEST
    async with aclosing(engine.generate(REQUEST)) as deltas:
        await anext(deltas)
        until = loop.time() + 2 * SILENT_S
        await eventually(lambda: loop.time() > until, "the listener takes its time")
        await anext(deltas)
    assert engine.is_alive()


async def test_clients_that_give_up_and_try_again_do_not_hide_it(engine: BoundedEngine) -> None:
    with pytest.raises(EngineDead):
        while True:
            try:
                async with asyncio.timeout(SILENT_S / 4):
                    await first(engine)
            except TimeoutError:
                assert engine.is_alive()


async def speaking(nodes: dict[str, Neighbour]) -> str:
    """The name of the node whose engine was asked."""
    await eventually(lambda: any(node.engine.open for node in nodes.values()), "one speaks")
    (name,) = (name for name, node in nodes.items() if node.engine.open)
    return name


@pytest.mark.parametrize("asked", ["a", "b"])
async def test_a_session_leaves_a_node_whose_engine_hangs_and_nobody_else_is_sent_there(
    base: BaseModel, tmp_path: Path, asked: str
) -> None:
    body = {"model": "nano", "input": TEXT, "voice": "ada", "response_format": "pcm"}
    async with neighbours(base, tmp_path, ["a", "b"]) as nodes, httpx.AsyncClient() as http:
        for node in nodes.values():
            node.node.speaker.engine = BoundedEngine(node.engine, SILENT_S)
            node.engine.goes_on.clear()
        url = f"http://{nodes[asked].address}/v1/audio/speech"
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(http.post(url, json=body, timeout=20))
            hangs = await speaking(nodes)
            other = "b" if hangs == "a" else "a"
            nodes[other].engine.goes_on.set()
        assert speakers(answer.result().content, nodes) == {other: len(TEXT.split())}
        ready = await http.get(f"http://{nodes[hangs].address}/readyz")
        assert (ready.status_code, ready.json()["error"]["type"]) == (503, "EngineDead")
        assert speakers((await http.post(url, json=body)).content, nodes) == {other: 6}
