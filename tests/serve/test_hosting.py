"""What a node does with what another asks of it, as it stands on the socket between them."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from orpheus_clone.models import BaseModel
from orpheus_clone.serve import hosting, wire
from tests.fleet.conftest import german
from tests.serve.neighbours import FIRST, SECOND, Neighbour, Nodes, nodes, opening
from tests.serve.talking import eventually

__all__ = ["german", "nodes"]

SAY = {"stream": 1, "say": FIRST}


@asynccontextmanager
async def linked(node: Neighbour) -> AsyncGenerator[ClientConnection, None]:
    """A socket on which no session is open."""
    async with connect(f"ws://{node.address}{wire.PATH}") as socket:
        yield socket


async def ask(socket: ClientConnection, *messages: dict[str, Any]) -> None:
    for message in messages:
        await socket.send(json.dumps(message))


async def told(socket: ClientConnection) -> dict[str, Any]:
    """The next answer that is no sound."""
    async with asyncio.timeout(10):
        while isinstance(message := await socket.recv(), bytes):
            pass
    answer: dict[str, Any] = json.loads(message)
    return answer


async def closed(socket: ClientConnection) -> tuple[int, str]:
    """The code and the reason that the node closes the socket with."""
    with pytest.raises(ConnectionClosed) as error:
        async with asyncio.timeout(10):
            while True:
                await socket.recv()
    assert error.value.rcvd is not None
    return error.value.rcvd.code, error.value.rcvd.reason


async def test_one_session_after_the_other_is_spoken(nodes: Nodes) -> None:
    node = nodes["b"]
    async with linked(node) as socket:
        for stream in (1, 2):
            await ask(socket, {"open": opening(node, bundle=bundle(node))})
            assert await told(socket) == {"bundle": bundle(node)}
            assert node.node.admission.sessions == 1
            await ask(socket, {"stream": stream, "say": FIRST})
            assert await told(socket) == {"stream": stream, "wanted": True}
            await ask(socket, {"stream": stream, "end": True})
            assert await told(socket) == {"stream": stream, "over": True}
            await ask(socket, {"end": True})
        await eventually(lambda: node.is_idle, "nothing is left")


def bundle(node: Neighbour) -> str:
    """Who speaks."""
    return str(node.node.store.pointer(opening(node)["voice"]).current)


async def test_the_end_of_a_session_is_the_end_of_all_that_speaks_in_it(nodes: Nodes) -> None:
    node = nodes["b"]
    async with linked(node) as socket:
        await ask(socket, {"open": opening(node, bundle=bundle(node))}, SAY, SAY | {"stream": 2})
        await eventually(lambda: node.engine.open == 2, "both are spoken")
        await ask(socket, {"end": True})
        await eventually(lambda: node.is_idle, "nothing is left")


@pytest.mark.parametrize(
    ("other", "error"),
    [
        ({"language": "de"}, "NodeError"),
        ({"base_digest": "0" * 64}, "NodeError"),
        ({"bundle": "another@4f1c2a9be07d"}, "DataError"),
        ({"bundle": None}, "UnknownVoice"),
    ],
)
async def test_a_session_that_is_not_for_this_node_is_refused_and_the_next_is_not(
    nodes: Nodes, other: dict[str, Any], error: str
) -> None:
    node = nodes["b"]
    right = opening(node, bundle=bundle(node))
    async with linked(node) as socket:
        await ask(socket, {"open": right | other})
        assert (await told(socket))["error"]["type"] == error
        await ask(socket, {"open": right})
        assert await told(socket) == {"bundle": bundle(node)}


async def test_a_stock_voice_of_another_base_is_not_spoken_by_this_one(
    nodes: Nodes, german: BaseModel
) -> None:
    node = nodes["b"]
    (voice, *_) = german.voices
    assert voice in node.node.speaker.base.voices
    asked = opening(node, voice=voice, base_digest=german.digest, language=german.language)
    async with linked(node) as socket:
        await ask(socket, {"open": asked})
        assert "node b speaks 'en'" in (await told(socket))["error"]["message"]


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([SAY], "no session is open"),
        (["open", {"stream": None}], "of no stream"),
        (["open", "open"], "of no stream"),
        (["open", SAY, SAY, SAY, SAY], "more than it wanted"),
        (["open", "?"], "cannot be read"),
        (["?"], "cannot be read"),
        (["open", {"open": {"voice": 1}}], "cannot be read"),
    ],
)
async def test_what_is_out_of_place_ends_the_socket(
    nodes: Nodes, messages: list[dict[str, Any] | str], why: str
) -> None:
    node = nodes["b"]
    node.engine.goes_on.clear()
    async with linked(node) as socket:
        for message in messages:
            opens = {"open": opening(node, bundle=bundle(node))}
            await socket.send(json.dumps(opens if message == "open" else message))
        code, reason = await closed(socket)
    assert (code, why in reason) == (1008, True)
    await eventually(lambda: node.is_idle, "nothing is left")


@pytest.mark.parametrize("more", [True, False])
async def test_room_is_kept_between_two_utterances_if_the_second_came_meanwhile(
    nodes: Nodes, more: bool
) -> None:
    node = nodes["b"]
    async with linked(node) as socket:
        await ask(socket, {"open": opening(node, bundle=bundle(node))}, SAY)
        await eventually(lambda: node.engine.made, "the first is spoken")
        if more:
            await ask(socket, {"stream": 1, "more": True})
        assert "bundle" in await told(socket)
        assert await told(socket) == {"stream": 1, "wanted": True}
        assert node.node.admission.streams == more
        await ask(socket, {"stream": 1, "say": SECOND})
        assert await told(socket) == {"stream": 1, "wanted": True}
        assert node.node.admission.streams == 0


async def test_a_node_that_stops_waits_for_what_is_spoken_and_not_for_who_is_silent(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "LOOK_S", 0.02)
    node = nodes["b"]
    async with linked(node) as socket:
        await ask(socket, {"open": opening(node, bundle=bundle(node))}, SAY)
        assert "bundle" in await told(socket)
        node.node.admission.is_draining = True
        assert await told(socket) == {"stream": 1, "wanted": True}, "it was spoken to its end"
        assert (await closed(socket))[0] == 1012
