"""Sockets to other nodes: kept warm for the next session, and given up without harm to any."""

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from orpheus_clone.cluster.state import NodeState, Pool
from orpheus_clone.errors import Busy, NodeError
from orpheus_clone.serve import hosting, links, wire
from orpheus_clone.serve.auth import NodeSecret
from orpheus_clone.serve.lines import Lines
from orpheus_clone.serve.links import Link, Links
from orpheus_clone.serve.placed import placed
from orpheus_clone.serve.wire import Answered, Asked, Opening
from orpheus_clone.speech import Chunk
from tests.serve.neighbours import FIRST, TEXT, VOICE, Nodes, nodes, say, spelt, words
from tests.serve.talking import eventually

__all__ = ["nodes"]


def idle(nodes: Nodes) -> list[Link]:
    """The sockets of node a that wait for a session."""
    return list(nodes["a"].service.links._idle)


async def are_idle(nodes: Nodes, count: int) -> None:
    await eventually(lambda: len(idle(nodes)) == count, f"{count} wait")


async def speaking(nodes: Nodes, count: int) -> None:
    """So many sessions at once, to their end."""
    texts = [Lines.of(FIRST) for _ in range(count)]
    await asyncio.gather(*(spoken(nodes, text) for text in texts))


async def spoken(nodes: Nodes, text: Lines) -> None:
    async with (
        placed(nodes["a"].service, VOICE, {}) as session,
        aclosing(session.speak(text)) as chunks,
    ):
        assert [chunk async for chunk in chunks]


async def test_the_next_session_goes_over_the_socket_of_the_last(nodes: Nodes) -> None:
    for _ in range(3):
        assert words((await say(nodes["a"])).content) == spelt(TEXT)
        await are_idle(nodes, 1)
    assert nodes["b"].network.connections == 1


async def test_one_over_which_a_session_was_refused_waits_for_the_next(nodes: Nodes) -> None:
    nodes["b"].engine.lives = False
    await speaking(nodes, 1)
    assert {link.node.id for link in idle(nodes)} == {"b", "c"}


async def test_no_more_wait_than_may_and_not_for_ever(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "MOST_IDLE", 2)
    await speaking(nodes, 4)
    assert nodes["b"].network.connections == 4
    assert len(idle(nodes)) == 2
    monkeypatch.setattr(links, "IDLE_S", 0.0)
    await speaking(nodes, 2)
    await are_idle(nodes, 0)
    assert nodes["b"].network.connections == 4


@pytest.mark.parametrize("are_told", [True, False])
async def test_one_that_broke_while_it_waited_costs_no_session_and_its_node_is_not_suspected(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, are_told: bool
) -> None:
    monkeypatch.setattr(links, "PING_S", 0.1)
    monkeypatch.setattr(links, "PONG_S", 0.2)
    await speaking(nodes, 2)
    (nodes["b"].network.drop if are_told else nodes["b"].network.forget)()
    for _ in range(2):
        answer = await say(nodes["a"])
        assert words(answer.content) == spelt(TEXT)
        assert answer.headers["x-orpheus-clone-node"] == "b"
    assert nodes["b"].network.connections == 3


async def test_one_that_breaks_between_two_words_is_not_used_again(nodes: Nodes) -> None:
    async with placed(nodes["a"].service, VOICE, {}) as session:
        async with aclosing(session.speak(Lines.of(FIRST))) as chunks:
            await anext(chunks)
            nodes["b"].network.drop()
            assert [chunk async for chunk in chunks]
        assert session.node == "c"
    (kept,) = idle(nodes)
    assert kept.node.id == "c"


async def test_a_node_that_is_about_to_stop_does_not_wait_for_those_that_are_idle(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "LOOK_S", 0.05)
    await speaking(nodes, 1)
    (link,) = idle(nodes)
    nodes["b"].node.admission.is_draining = True
    await eventually(lambda: link.lost, "it was closed")
    assert "1012" in str(link.lost)
    assert nodes["a"].service.links.warm(link.node) is None


async def test_after_the_end_none_is_kept(nodes: Nodes) -> None:
    service = nodes["a"].service
    async with placed(service, VOICE, {}) as session:
        assert session.node == "b"
        await service.links.close()
    assert not idle(nodes)


def at(port: int) -> NodeState:
    """A node there."""
    return NodeState("far", f"http://127.0.0.1:{port}", Pool("digest", "en"))


@pytest.fixture
async def mine() -> AsyncGenerator[Links, None]:
    """The sockets of a node that has none yet."""
    made = Links(NodeSecret(None), ssl.create_default_context())
    yield made
    await made.close()


async def test_what_is_late_of_a_session_is_not_heard_in_the_next(mine: Links) -> None:
    late, own = (Chunk(np.zeros(3, np.float32), tokens) for tokens in (7, 14))

    async def answer(socket: ServerConnection) -> None:
        async for message in socket:
            asked = wire.asked(str(message))
            if asked.open is not None:
                await socket.send("{}")
            if asked.stream is not None:
                await socket.send(wire.packed(1, late))
                await socket.send(wire.packed(asked.stream, own))

    async with serve(answer, "127.0.0.1", 0) as far:
        (listening,) = far.sockets
        link = await mine.connect(at(listening.getsockname()[1]))
        heard = [await first_chunk(link, mine) for _ in range(2)]
    assert [chunk.tokens for chunk in heard] == [late.tokens, own.tokens]


async def first_chunk(link: Link, mine: Links) -> Chunk:
    """What comes first in a session that is over then."""
    assert await link.open(Opening(voice="ada", base_digest="digest", language="en"))
    stream, heard = link.listen()
    await link.ask(Asked(stream=stream, say="Hello."))
    came: Chunk | Answered = await link.next(heard)
    link.left(stream)
    await mine.keep(link)
    assert mine.warm(link.node) is link
    assert isinstance(came, Chunk)
    return came


@pytest.mark.parametrize(("said", "wait"), [("7", 7), (None, 2), ("Thu, 26 Nov 2026", 2)])
async def test_one_that_is_busy_has_not_failed(mine: Links, said: str | None, wait: int) -> None:
    def refuse(connection: ServerConnection, _: Request) -> Response:
        answer = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "too many")
        if said is not None:
            answer.headers["retry-after"] = said
        return answer

    async with serve(hang_up, "127.0.0.1", 0, process_request=refuse) as far:
        (listening,) = far.sockets
        with pytest.raises(Busy, match="node far is busy") as busy:
            await mine.connect(at(listening.getsockname()[1]))
    assert busy.value.retry_after_s == wait


async def hang_up(socket: ServerConnection) -> None:
    await socket.close()


async def test_where_a_node_is_stands_in_the_log_and_is_told_to_no_client(
    mine: Links, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(hang_up, "127.0.0.1", 0) as far:
        (listening,) = far.sockets
        port = listening.getsockname()[1]
    caplog.set_level(logging.WARNING)
    with pytest.raises(NodeError, match="node far lets nobody in") as refused:
        await mine.connect(at(port))
    assert str(port) not in str(refused.value)
    assert f"node far at http://127.0.0.1:{port} lets nobody in" in caplog.text
