"""Sessions that are carried to another node, which speaks them as if their client had come to it.

Nodes, sockets and the network between them are real; the engine says a word a frame, and its sound
tells which word and who said it.
"""

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from orpheus_clone import audio
from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.models import BaseModel
from orpheus_clone.serve import hosting, links, logs, wire
from orpheus_clone.serve.auth import NodeSecret
from orpheus_clone.serve.lines import Lines
from orpheus_clone.serve.placed import placed
from tests.fleet.conftest import german
from tests.serve.keyed import known
from tests.serve.neighbours import (
    FIRST,
    NAMES,
    SECOND,
    TEXT,
    VOICE,
    Neighbour,
    Nodes,
    is_over,
    know_each_other,
    neighbour,
    neighbours,
    nodes,
    opening,
    owned_by,
    publish,
    say,
    speakers,
    spelt,
    words,
)
from tests.serve.talking import eventually, letters, socket, sound

__all__ = ["german", "nodes"]


async def test_whoever_is_asked_the_owner_speaks_and_the_sound_is_the_same(nodes: Nodes) -> None:
    answers = []
    for node in nodes.values():
        answers.append(await say(node))
        await is_over(nodes)
        await know_each_other(nodes.values())
    assert {answer.headers["x-orpheus-clone-node"] for answer in answers} == {"b"}
    assert len({answer.content for answer in answers}) == 1
    assert words(answers[0].content) == spelt(TEXT)
    assert nodes["b"].network.connections == 2


async def test_all_contexts_of_a_socket_are_carried_over_one(nodes: Nodes) -> None:
    async with socket(nodes["a"].address, voice=VOICE) as client:
        for i in range(5):
            await client.say({"text": FIRST, "context_id": f"turn{i}", "flush": True})
        for i in range(5):
            await client.say({"context_id": f"turn{i}", "close_context": True})
            messages = await client.final(f"turn{i}")
            assert words(sound(messages)) == spelt(FIRST)
            assert letters(messages).split() == FIRST.split()
    assert nodes["b"].network.connections == 1
    assert nodes["b"].engine.asked == 5
    await is_over(nodes)


async def alive(node: Neighbour) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"http://{node.address}/livez")).status_code == 200


async def test_what_is_interrupted_is_not_spoken_at_the_other_node_any_more(nodes: Nodes) -> None:
    async with socket(nodes["a"].address, voice=VOICE) as client:
        await client.say({"text": TEXT, "context_id": "x", "flush": True})
        await client.hear(lambda m: m.get("audio"))
        await client.say(
            {"text": "and", "context_id": "x"}, {"context_id": "x", "close_context": 1}
        )
        await client.say({"context_id": "x", "close_context": True})
        await client.final("x")
        await eventually(lambda: not nodes["b"].engine.open, "the generation is closed")
        assert nodes["b"].engine.made < len(TEXT.split())
        assert nodes["b"].node.admission.sessions == 1
    await is_over(nodes)


async def test_a_client_that_hangs_up_ends_the_work_at_the_other_node(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "IDLE_S", 0.0)
    before = asyncio.all_tasks()
    async with socket(nodes["a"].address, voice=VOICE) as client:
        await client.say({"text": TEXT, "flush": True})
        await client.hear(lambda m: m.get("audio"))
    await is_over(nodes)
    assert nodes["b"].engine.made < len(TEXT.split())
    await eventually(lambda: not asyncio.all_tasks() - before, "no task is left")


async def test_room_is_kept_for_what_is_written_while_the_utterance_before_it_is_spoken(
    nodes: Nodes,
) -> None:
    lines = Lines()
    lines.write(FIRST)
    lines.flush()
    async with (
        placed(nodes["a"].service, VOICE, {}) as session,
        aclosing(session.speak(lines)) as chunks,
    ):
        heard = [await anext(chunks)]
        given_back = nodes["b"].node.admission.changed
        lines.write(SECOND)
        lines.end()
        while heard[-1].finish is None:
            heard.append(await anext(chunks))
        heard.append(await anext(chunks))
        assert not given_back.is_set(), "the second is begun"
        heard += [chunk async for chunk in chunks]
        assert given_back.is_set()
    assert words(b"".join(audio.pcm16(chunk.samples) for chunk in heard)) == spelt(TEXT)


async def test_who_takes_nothing_slows_the_other_node(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fleet.telling.FRAME_S", 0.0)
    text = " ".join(a + b for a in "bcdfghjk" for b in "aeiouywrs")  # one utterance, 72 words
    async with (
        placed(nodes["a"].service, VOICE, {}) as session,
        aclosing(session.speak(Lines.of(text))) as chunks,
    ):
        heard = [await anext(chunks)]
        await eventually(lambda: nodes["b"].engine.made > wire.WINDOW, "it is ahead")
        made = 0
        while made != (made := nodes["b"].engine.made):
            for _ in range(20):  # in which time it would have gone on
                await alive(nodes["b"])
        assert made < 2 * wire.WINDOW
        heard += [chunk async for chunk in chunks]
    assert words(b"".join(audio.pcm16(chunk.samples) for chunk in heard)) == spelt(text)


async def test_a_live_session_stays_where_it_is_when_a_node_joins(
    base: BaseModel, tmp_path: Path
) -> None:
    voice = owned_by("c")
    publish(base, tmp_path, voice)
    registry = MemoryRegistry()
    async with (
        neighbour("a", base, tmp_path, registry) as a,
        neighbour("b", base, tmp_path, registry) as b,
    ):
        await know_each_other((a, b))
        async with socket(a.address, voice=voice) as client:
            await client.say({"text": FIRST, "context_id": "x", "flush": True})
            await client.hear(lambda m: letters([m]).endswith(". "))
            async with neighbour("c", base, tmp_path, registry) as c:
                await know_each_other((a, b, c))
                await client.say({"text": SECOND, "context_id": "x", "flush": True})
                await client.say({"context_id": "x", "close_context": True})
                pcm = sound(await client.final("x"))
    assert words(pcm) == spelt(TEXT)
    assert len(speakers(pcm, NAMES)) == 1
    assert c.engine.asked == 0


async def test_a_node_that_is_asked_by_another_sends_nobody_on(nodes: Nodes) -> None:
    bundle = nodes["c"].node.store.pointer(VOICE).current
    async with connect(f"ws://{nodes['c'].address}{wire.PATH}") as other:
        await other.send(json.dumps({"open": opening(nodes["c"], bundle=bundle)}))
        assert json.loads(await other.recv()) == {"bundle": bundle}
        await other.send(json.dumps({"stream": 1, "say": FIRST}))
        assert isinstance(await other.recv(), bytes)
    assert nodes["c"].engine.asked == 1
    assert not nodes["b"].network.connections


@pytest.mark.parametrize("secret", [None, "another secret of a fleet"])
async def test_who_does_not_know_the_secret_is_no_node(
    base: BaseModel, tmp_path: Path, secret: str | None
) -> None:
    publish(base, tmp_path, VOICE)
    async with neighbours(base, tmp_path, NAMES, secret="the secret of this fleet") as nodes:
        assert words((await say(nodes["a"])).content) == spelt(TEXT)
        url = f"ws://{nodes['b'].address}{wire.PATH}"
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, additional_headers=NodeSecret(secret).headers())
    assert refused.value.response.status_code == 401


async def test_no_session_is_spoken_in_the_wrong_pool(
    base: BaseModel, german: BaseModel, tmp_path: Path
) -> None:
    publish(base, tmp_path, "jane")
    publish(german, tmp_path, "anna")
    registry = MemoryRegistry()
    async with (
        neighbour("a", base, tmp_path, registry) as english,
        neighbour("b", german, tmp_path, registry, voices=("heidi",)) as other,
    ):
        await know_each_other((english, other))
        for asked in (english, other):
            for voice, speaker in (("jane", "a"), ("anna", "b"), ("heidi", "b")):
                answer = await say(asked, body={"voice": voice})
                assert speakers(answer.content, "ab") == {speaker: len(TEXT.split())}
            assert (await say(asked, body={"voice": "nobody"})).status_code == 404
        other.network.cut()
        assert (await say(english, body={"voice": "anna"})).status_code == 503


async def test_the_clients_trace_goes_with_it(
    nodes: Nodes, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        url = f"http://{nodes['a'].address}/v1/text-to-speech/{VOICE}"
        with logs.written("json", "all of them"):
            for said in ({}, headers):  # over one socket
                await http.post(url, json={"text": FIRST}, headers=said)
                await is_over(nodes)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    spoke = [line for line in lines if line["logger"] == hosting.__name__]
    assert [line["session"] == trace for line in spoke] == [False, True]
    assert {line["voice"] for line in spoke} == {VOICE}
    assert nodes["b"].network.connections == 1


async def test_a_key_stays_at_the_node_that_it_was_shown_to(
    base: BaseModel, tmp_path: Path
) -> None:
    publish(base, tmp_path, VOICE)
    keys, secret = [known("the key of jane", "jane")], "the secret of this fleet"
    shown = {"authorization": "Bearer the key of jane"}
    async with (
        neighbours(base, tmp_path, NAMES, secret, keys) as nodes,
        httpx.AsyncClient(base_url=f"http://{nodes['a'].address}", headers=shown) as http,
    ):
        answer = await http.post(f"/v1/text-to-speech/{VOICE}", json={"text": FIRST})
        assert answer.headers["x-orpheus-clone-node"] == "b"
        answer = await http.delete(f"/v1/voices/{VOICE}", params={"by": "Jane"})
        assert (answer.status_code, answer.headers.get("x-orpheus-clone-node")) == (200, None)
        sent = nodes["b"].network.sent
        assert b"DELETE" in sent
        assert b"the key of jane" not in sent
        (*_, last) = nodes["b"].node.store.see(VOICE).moves
        assert (last.did, last.by) == ("unpublish", "Jane (key jane)")
