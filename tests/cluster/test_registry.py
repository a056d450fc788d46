"""Both registries keep the same promises."""

import asyncio
from dataclasses import replace

import pytest

from orpheus_clone.cluster.registry import HEARTBEAT_SECONDS, TTL_SECONDS, IdTaken
from orpheus_clone.cluster.state import Load, NodeState, Phase
from tests.cluster.conftest import Case, node

ONE, TWO = node("one"), node("two")


async def alive(case: Case) -> list[NodeState]:
    return sorted((await case.registry.fleet()).nodes, key=lambda found: found.id)


async def version(case: Case) -> int:
    return (await case.registry.fleet()).version


async def test_nobody_is_there_at_first(case: Case) -> None:
    assert await alive(case) == []


async def test_a_node_that_says_so_is_there_with_what_it_said(case: Case) -> None:
    busy = node("one", Phase.DRAINING, beat=3, load=Load(5, 8, {"jack@1": 5, "tara@2": 0}))
    await case.registry.heartbeat(busy)
    await case.registry.heartbeat(TWO)
    assert await alive(case) == [busy, TWO]


async def test_the_last_heartbeat_counts_and_tells_whether_the_node_was_known(case: Case) -> None:
    assert not await case.registry.heartbeat(ONE)
    later = replace(ONE, beat=2, load=Load(7))
    assert await case.registry.heartbeat(later)
    assert await alive(case) == [later]


async def test_a_heartbeat_lasts_for_the_time_to_live(case: Case) -> None:
    await case.registry.heartbeat(ONE)
    left = await case.seconds_until_gone("one")
    assert TTL_SECONDS - 1 < left <= TTL_SECONDS + 0.01


async def test_a_node_that_says_no_more_is_gone_and_not_known_when_it_comes_back(
    case: Case,
) -> None:
    await case.registry.heartbeat(ONE)
    await case.run_out("one")
    assert await alive(case) == []
    assert not await case.registry.heartbeat(ONE)
    assert await alive(case) == [ONE]


async def test_a_node_that_leaves_is_gone_at_once_and_may_leave_twice(case: Case) -> None:
    await case.registry.heartbeat(ONE)
    await case.registry.heartbeat(TWO)
    await case.registry.leave(ONE)
    await case.registry.leave(ONE)
    assert await alive(case) == [TWO]


async def test_the_version_goes_up_with_who_comes_and_goes_and_with_no_heartbeat_else(
    case: Case,
) -> None:
    seen = [await version(case)]

    async def expect(*, is_change: bool) -> None:
        seen.append(await version(case))
        assert (seen[-1] > seen[-2]) == is_change

    await case.registry.heartbeat(ONE)
    await expect(is_change=True)
    await case.registry.heartbeat(replace(ONE, beat=1, load=Load(9)))
    await expect(is_change=False)
    await case.registry.heartbeat(TWO)
    await expect(is_change=True)
    await case.registry.heartbeat(replace(ONE, phase=Phase.DRAINING))
    await expect(is_change=True)
    await case.registry.leave(TWO)
    await expect(is_change=True)
    await case.registry.leave(TWO)
    await expect(is_change=False)
    await case.run_out("one")
    await expect(is_change=True)
    await expect(is_change=False)


async def test_a_node_that_died_and_is_back_before_anybody_looked_is_a_change(case: Case) -> None:
    await case.registry.heartbeat(ONE)
    before = await version(case)
    await case.run_out("one")
    await case.registry.heartbeat(replace(ONE, incarnation="second"))
    assert await version(case) > before


async def test_a_second_process_with_the_same_id_is_refused_and_changes_nothing(
    case: Case,
) -> None:
    await case.registry.heartbeat(ONE)
    before = await version(case)
    twin = replace(ONE, incarnation="second", url="http://elsewhere:8000")
    with pytest.raises(IdTaken, match=r"'one' is taken by the node at http://one:8000.*--node-id"):
        await case.registry.heartbeat(twin)
    await case.registry.leave(twin)
    assert await alive(case) == [ONE]
    assert await version(case) == before


async def test_when_the_first_has_been_silent_for_too_long_the_second_has_the_id(
    case: Case,
) -> None:
    await case.registry.heartbeat(ONE)
    await case.run_out("one")
    heir = replace(ONE, incarnation="second")
    await case.registry.heartbeat(heir)
    with pytest.raises(IdTaken) as taken:
        await case.registry.heartbeat(ONE)
    assert taken.value.holder == heir
    await case.registry.leave(ONE)
    assert await alive(case) == [heir]


@pytest.mark.parametrize("change", ["join", "phase", "leave"])
async def test_whoever_listens_hears_of_a_change(case: Case, change: str) -> None:
    await case.registry.heartbeat(ONE)
    await case.registry.hint(0.01)  # the first may only begin to listen
    listening = asyncio.create_task(case.registry.hint(600))
    await asyncio.sleep(0)
    if change == "join":
        await case.registry.heartbeat(TWO)
    elif change == "phase":
        await case.registry.heartbeat(replace(ONE, phase=Phase.DRAINING))
    else:
        await case.registry.leave(ONE)
    async with asyncio.timeout(10):
        await listening


async def test_without_news_a_hint_ends_with_its_time(case: Case) -> None:
    await case.registry.heartbeat(ONE)
    async with asyncio.timeout(10):
        for _ in range(3):
            await case.registry.hint(0.02)
            await case.registry.heartbeat(ONE)


def test_two_heartbeats_may_be_lost_without_anybody_noticing() -> None:
    assert TTL_SECONDS >= 3 * HEARTBEAT_SECONDS
