"""Tokens a frame at a time: none is lost, none waits longer than it must, errors come through."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.engine.base import Delta, Finish
from orpheus_clone.engine.gathered import gathered
from orpheus_clone.errors import EngineDead, EngineError
from orpheus_clone.tokens import FRAME


class Steps:
    """An engine whose steps a test makes."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[Delta | Exception] = asyncio.Queue()
        self.taken = 0
        self.is_closed = False

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        try:
            while True:
                step = await self.waiting.get()
                if isinstance(step, Exception):
                    raise step
                self.taken += len(step.tokens)
                yield step
        finally:
            self.is_closed = True

    def step(self, *deltas: Delta | Exception) -> None:
        for delta in deltas:
            self.waiting.put_nowait(delta)


def never() -> float | None:
    return None


async def settled() -> None:
    """Once whoever can go on has."""
    for _ in range(10):
        await asyncio.sleep(0)


@given(st.lists(st.integers(0, 20), max_size=30), st.booleans())
async def test_what_comes_out_is_what_went_in(sizes: Sequence[int], is_slow: bool) -> None:
    async def engine() -> AsyncGenerator[Delta, None]:
        at = 0
        for size in sizes:
            if is_slow:
                await asyncio.sleep(0)
            yield Delta(list(range(at, at + size)))
            at += size
        yield Delta([at], "length")

    found = [delta async for delta in gathered(engine(), never)]
    assert [token for delta in found for token in delta.tokens] == list(range(sum(sizes) + 1))
    assert [delta.finish for delta in found] == [None] * (len(found) - 1) + ["length"]


async def test_the_first_token_comes_at_once_and_then_each_frame_that_is_whole() -> None:
    steps = Steps()
    async with aclosing(gathered(steps.deltas(), never)) as found:
        steps.step(Delta([0]))
        assert await anext(found) == Delta([0])
        for start in (1, FRAME, 2 * FRAME):
            coming = asyncio.ensure_future(anext(found))
            end = start + FRAME - start % FRAME
            steps.step(*[Delta([token]) for token in range(start, end - 1)])
            await settled()
            assert not coming.done()
            steps.step(Delta([end - 1]))
            assert await coming == Delta([*range(start, end)])


async def test_when_the_time_is_up_what_there_is_comes_or_nothing() -> None:
    steps, wait_s = Steps(), 0.0
    async with aclosing(gathered(steps.deltas(), lambda: wait_s)) as found:
        assert await anext(found) == Delta([])
        steps.step(Delta([0]))
        await settled()
        assert await anext(found) == Delta([0])
        steps.step(Delta([1]), Delta([2]))
        await settled()
        assert await anext(found) == Delta([1, 2])
        assert await anext(found) == Delta([])


async def test_who_takes_nothing_lets_the_engine_go_no_further_than_a_frame() -> None:
    steps = Steps()
    async with aclosing(gathered(steps.deltas(), never)) as found:
        steps.step(*[Delta([token]) for token in range(5 * FRAME)])
        for frame in range(2):
            came = await anext(found)
            assert came.tokens == [*range(frame * FRAME, (frame + 1) * FRAME)]
            await settled()
            assert steps.taken <= (frame + 2) * FRAME


@pytest.mark.parametrize("before", [0, 3])
async def test_an_error_of_the_engine_comes_after_what_came_before_it(before: int) -> None:
    steps = Steps()
    async with aclosing(gathered(steps.deltas(), never)) as found:
        steps.step(*[Delta([token]) for token in range(before)], EngineDead("it is gone"))
        came = []
        with pytest.raises(EngineDead, match="it is gone"):
            async for delta in found:
                came += delta.tokens
    assert came == list(range(before))


async def test_an_engine_that_dies_within_a_frame_keeps_nobody_waiting() -> None:
    steps = Steps()
    async with aclosing(gathered(steps.deltas(), never)) as found:
        steps.step(Delta([0]))
        assert (await anext(found)).tokens == [0]
        steps.step(Delta([1]), Delta([2]))
        await settled()
        steps.step(EngineDead("it is gone"))
        assert (await anext(found)).tokens == [1, 2]
        with pytest.raises(EngineDead, match="it is gone"):
            async with asyncio.timeout(5):
                await anext(found)


@pytest.mark.parametrize("finish", [None, "stop"])
async def test_an_engine_that_only_ends_is_an_error(finish: Finish | None) -> None:
    async def engine() -> AsyncGenerator[Delta, None]:
        yield Delta([0], finish)

    found: list[Delta] = []
    if finish is None:
        with pytest.raises(EngineError, match="without saying why"):
            found += [delta async for delta in gathered(engine(), never)]
    else:
        found += [delta async for delta in gathered(engine(), never)]
        assert found == [Delta([0], "stop")]


async def test_who_leaves_stops_the_engine_before_it_is_told_that_he_has_left() -> None:
    steps, before = Steps(), asyncio.all_tasks()
    async with aclosing(steps.deltas()) as deltas:
        async with aclosing(gathered(deltas, never)) as found:
            steps.step(Delta([0]))
            await anext(found)
        assert steps.is_closed
    assert asyncio.all_tasks() == before
