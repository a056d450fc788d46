"""Both registries keep the same promises."""

from dataclasses import replace
from typing import Any

import pytest

from orpheus_clone.cluster.redis import PREFIX, RedisRegistry
from orpheus_clone.cluster.registry import HEARTBEAT_SECONDS, TTL_SECONDS, NodeInfo
from tests.cluster.conftest import Case, url_of

ONE = NodeInfo("one", "http://10.0.0.1:8000", "base-a")
TWO = NodeInfo("two", "http://10.0.0.2:8000", "base-a")


async def alive(case: Case) -> set[NodeInfo]:
    return set(await case.registry.nodes())


async def test_nobody_is_there_at_first(case: Case) -> None:
    assert await alive(case) == set()


async def test_a_node_that_says_so_is_there_with_what_it_said(case: Case) -> None:
    await case.registry.heartbeat(ONE)
    await case.registry.heartbeat(TWO)
    await case.registry.heartbeat(ONE)
    assert await alive(case) == {ONE, TWO}


async def test_the_last_heartbeat_counts(case: Case) -> None:
    await case.registry.heartbeat(ONE)
    moved = replace(ONE, url="http://10.0.0.9:8000")
    await case.registry.heartbeat(moved)
    assert await alive(case) == {moved}


async def test_a_heartbeat_lasts_for_the_time_to_live(case: Case) -> None:
    await case.registry.heartbeat(ONE)
    left = await case.seconds_until_gone("one")
    assert TTL_SECONDS - 1 < left <= TTL_SECONDS + 0.01


async def test_a_node_that_says_no_more_is_gone(case: Case) -> None:
    await case.registry.heartbeat(ONE)
    await case.run_out("one")
    assert await alive(case) == set()
    await case.registry.heartbeat(ONE)
    assert await alive(case) == {ONE}


async def test_a_node_that_leaves_is_gone_at_once_and_may_leave_twice(case: Case) -> None:
    await case.registry.heartbeat(ONE)
    await case.registry.heartbeat(TWO)
    await case.registry.leave(ONE)
    await case.registry.leave(ONE)
    assert await alive(case) == {TWO}


def test_two_heartbeats_may_be_lost_without_anybody_noticing() -> None:
    assert TTL_SECONDS >= 3 * HEARTBEAT_SECONDS


@pytest.mark.parametrize("value", ["nonsense", "[]", '{"id": "three"}', '{"name": "three"}'])
async def test_what_another_version_wrote_is_passed_over(valkey: Any, value: str) -> None:
    registry = RedisRegistry(url_of(valkey))
    with valkey.client() as client:
        client.flushall()
        client.set(PREFIX + "three", value)
    await registry.heartbeat(ONE)
    assert await registry.nodes() == [ONE]
    await registry.close()


async def test_a_registry_that_cannot_be_reached_is_an_os_error() -> None:
    registry = RedisRegistry("redis://127.0.0.1:1/0")
    for ask in (registry.heartbeat(ONE), registry.leave(ONE), registry.nodes()):
        with pytest.raises(OSError, match="Redis"):
            await ask
    await registry.close()
