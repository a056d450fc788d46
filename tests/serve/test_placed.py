"""Sessions that are carried to another node, and go on at a third when that one fails.

Nodes, sockets and the network between them are real; the engine says a word a frame, and its sound
tells which word and who said it.
"""

import asyncio
import io
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import av
import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from orpheus_clone import audio
from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.cluster.ring import Ring
from orpheus_clone.models import BaseModel
from orpheus_clone.serve import elevenlabs, hosting, remote, wire
from orpheus_clone.serve.auth import NodeSecret
from orpheus_clone.serve.formats import OpenAIFormat
from orpheus_clone.serve.lines import Lines
from orpheus_clone.serve.placed import placed
from orpheus_clone.serve.rates import ENOUGH
from orpheus_clone.tokens import FRAME_SAMPLES, SAMPLE_RATE
from tests.fleet.conftest import german
from tests.serve.neighbours import (
    Neighbour,
    know_each_other,
    neighbour,
    neighbours,
    publish,
    speakers,
    spelt,
    words,
)
from tests.serve.talking import eventually, letters, socket, sound

NAMES = ("a", "b", "c")
FIRST, SECOND = "alpha beta gamma delta epsilon.", "zeta eta theta iota kappa."
TEXT = f"{FIRST} {SECOND}"

Nodes = dict[str, Neighbour]

__all__ = ["german"]


def owned_by(*names: str, among: tuple[str, ...] = NAMES) -> str:
    """A voice whose order of preference begins with these nodes."""
    ring = Ring(among)
    every = (f"voice{i}" for i in range(1000))
    return next(v for v in every if [*ring.preference(v)][: len(names)] == [*names])


VOICE = owned_by("b", "c")


@pytest_asyncio.fixture
async def nodes(base: BaseModel, tmp_path: Path) -> AsyncGenerator[Nodes, None]:
    publish(base, tmp_path, VOICE)
    async with neighbours(base, tmp_path, NAMES) as started:
        yield started


async def say(node: Neighbour, text: str = TEXT, **more: Any) -> httpx.Response:
    """The answer of OpenAI's interface, whole."""
    body = {"model": "nano", "input": text, "voice": VOICE, "response_format": "pcm"}
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        url = f"http://{node.address}/v1/audio/speech"
        return await http.post(url, json=body | more.pop("body", {}), params=more)


async def alive(node: Neighbour) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"http://{node.address}/livez")).status_code == 200


async def is_over(nodes: Nodes) -> None:
    """Once no node has anything left of any session."""
    await eventually(lambda: all(node.is_idle for node in nodes.values()), "nothing is left")
    placements = [node.service.membership.placement for node in nodes.values()]
    assert not any(placement._sessions for placement in placements)


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


async def test_a_client_that_hangs_up_ends_the_work_at_the_other_node(nodes: Nodes) -> None:
    before = asyncio.all_tasks()
    async with socket(nodes["a"].address, voice=VOICE) as client:
        await client.say({"text": TEXT, "flush": True})
        await client.hear(lambda m: m.get("audio"))
    await is_over(nodes)
    assert nodes["b"].engine.made < len(TEXT.split())
    await eventually(lambda: not asyncio.all_tasks() - before, "no task is left")


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


async def test_a_node_that_dies_before_its_first_sound_is_not_noticed(nodes: Nodes) -> None:
    nodes["b"].engine.goes_on.clear()
    async with socket(nodes["a"].address, voice=VOICE) as client:
        await client.say({"text": TEXT, "context_id": "x", "flush": True})
        await eventually(lambda: nodes["b"].engine.open, "the node is at it")
        nodes["b"].network.cut()
        await client.say({"context_id": "x", "close_context": True})
        messages = await client.final("x")
    assert not any("error" in message for message in client.heard)
    assert words(sound(messages)) == spelt(TEXT)
    assert letters(messages).split() == TEXT.split()
    assert speakers(sound(messages), NAMES) == {"c": len(TEXT.split())}
    assert nodes["a"].service.metrics.moved._value.get() == 1


async def test_the_sentence_at_which_a_node_dies_is_said_again_by_another(nodes: Nodes) -> None:
    async with socket(nodes["a"].address, voice=VOICE) as client:
        await client.say({"text": FIRST, "context_id": "x", "flush": True})
        await client.hear(lambda m: letters([m]).endswith(". "))
        await client.say({"text": SECOND, "context_id": "x", "flush": True})
        await client.hear(lambda m: m.get("audio"))
        nodes["b"].network.cut()
        await client.say({"context_id": "x", "close_context": True})
        pcm = sound(await client.final("x"))
    assert speakers(pcm, NAMES)["c"] == len(SECOND.split())
    said = words(pcm)
    assert said[: len(FIRST.split())] == spelt(FIRST)
    assert said[-len(SECOND.split()) :] == spelt(SECOND)
    again = said[len(FIRST.split()) : -len(SECOND.split())]
    assert again == spelt(SECOND)[: len(again)]


async def test_what_is_said_after_a_node_died_in_silence_is_said_by_another(nodes: Nodes) -> None:
    async with socket(nodes["a"].address, voice=VOICE) as client:
        await client.say({"text": FIRST, "context_id": "x", "flush": True})
        await client.hear(lambda m: letters([m]).endswith(". "))
        nodes["b"].network.cut()
        await client.say({"text": SECOND, "context_id": "x", "flush": True})
        await client.say({"context_id": "x", "close_context": True})
        pcm = sound(await client.final("x"))
    assert words(pcm) == spelt(TEXT)
    assert set(speakers(pcm, NAMES)) == {"b", "c"}


async def test_all_contexts_of_a_socket_move_to_one_node(nodes: Nodes) -> None:
    nodes["b"].engine.goes_on.clear()
    turns = [f"turn{i}" for i in range(4)]
    async with socket(nodes["a"].address, voice=VOICE) as client:
        await client.say(*({"text": FIRST, "context_id": turn, "flush": True} for turn in turns))
        await eventually(lambda: nodes["b"].engine.open == len(turns), "all are spoken")
        nodes["b"].network.cut()
        await client.say({"close_socket": True})
        assert await client.closed() == 1000
    for turn in turns:
        pcm = sound([m for m in client.heard if m.get("contextId") == turn])
        assert words(pcm) == spelt(FIRST)
        assert set(speakers(pcm, NAMES)) == {"c"}
    assert nodes["c"].network.connections == 1
    assert nodes["a"].service.metrics.moved._value.get() == 1


@pytest.mark.parametrize("form", get_args(OpenAIFormat))
async def test_an_answer_goes_on_in_its_format_when_its_node_dies(
    nodes: Nodes, form: OpenAIFormat
) -> None:
    wav, whole = b"", len(TEXT.split())
    async with answering(nodes["a"], response_format=form) as blocks:
        nodes["b"].engine.goes_on.set()
        await eventually(lambda: nodes["b"].engine.made >= 7, "the second sentence is begun")
        nodes["b"].network.cut()
        wav = b"".join([block async for block in blocks])
    seconds = decoded(wav) if form != "pcm" else len(wav) / 48_000
    assert seconds >= (whole - 1) * FRAME_SAMPLES / SAMPLE_RATE
    if form in ("pcm", "wav"):
        assert words(wav)[-5:] == spelt(SECOND)
    assert nodes["c"].engine.asked == 1


async def test_who_asked_to_be_told_is_told(nodes: Nodes) -> None:
    async with socket(nodes["a"].address, voice=VOICE, on_failure="error") as client:
        await client.say({"text": FIRST, "context_id": "x", "flush": True})
        await client.hear(lambda m: letters([m]).endswith(". "))
        await client.say({"text": SECOND, "context_id": "x", "flush": True})
        await client.hear(lambda m: m.get("audio"))
        nodes["b"].network.cut()
        told = await client.hear(lambda m: "error" in m)
        assert "node b has failed" in told.pop("error")
        names = {"contextId": "x", "context_id": "x"}
        assert told == {"code": 1011, "retryable": True, "spoken_chars": len(FIRST), **names}
        await client.say({"text": SECOND, "context_id": "y", "flush": True})
        await client.say({"context_id": "y", "close_context": True})
        assert words(sound(await client.final("y"))) == spelt(SECOND)


async def test_events_tell_of_it_and_other_sound_breaks_off(nodes: Nodes) -> None:
    asked = {"on_failure": "error", "stream_format": "sse"}
    async with answering(nodes["a"], **asked) as blocks:
        nodes["b"].network.cut()
        events = b"".join([block async for block in blocks]).decode().split("\n\n")
    last = json.loads(events[-2].removeprefix("data: "))["error"]
    assert (last["type"], last["retryable"], last["spoken_chars"]) == ("NodeError", True, 0)
    await know_each_other(nodes.values())
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
        async with answering(nodes["a"], on_failure="error") as blocks:
            nodes["c"].network.cut()
            assert [block async for block in blocks]


@asynccontextmanager
async def answering(node: Neighbour, **asked: str) -> AsyncGenerator[AsyncIterator[bytes], None]:
    """The blocks of an answer that has begun to sound."""
    query = {"on_failure": asked.pop("on_failure", "repeat")}
    body = {"model": "nano", "input": TEXT, "voice": VOICE, "response_format": "pcm", **asked}
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        url = f"http://{node.address}/v1/audio/speech"
        async with http.stream("POST", url, json=body, params=query) as answer:
            assert answer.status_code == 200
            yield answer.aiter_raw()


def decoded(sound: bytes) -> float:
    """Seconds that a player finds in a file."""
    with av.open(io.BytesIO(sound), "r") as file:
        stream = file.streams.audio[0]
        return sum(int(frame.samples) for frame in file.decode(stream)) / stream.rate


async def test_a_node_that_hangs_is_given_up(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PING_S", 0.1)
    monkeypatch.setattr(remote, "PONG_S", 0.2)
    async with socket(nodes["a"].address, voice=VOICE) as client:
        await client.say({"text": TEXT, "context_id": "x", "flush": True})
        await client.hear(lambda m: m.get("audio"))
        nodes["b"].network.swallow()
        await client.say({"context_id": "x", "close_context": True})
        pcm = sound(await client.final("x"))
    assert words(pcm)[-len(SECOND.split()) :] == spelt(SECOND)
    assert speakers(pcm, NAMES)["c"] >= len(SECOND.split())


async def test_a_node_that_lets_nobody_in_is_passed_over_and_suspected(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "OPEN_S", 0.2)
    nodes["b"].network.swallow()
    for _ in range(2):
        answer = await say(nodes["a"])
        assert words(answer.content) == spelt(TEXT)
        assert answer.headers["x-orpheus-clone-node"] != "b"
    assert nodes["b"].network.connections == 1


async def test_a_node_that_says_nothing_is_given_up_though_it_answers_pings(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SILENT_S", 0.3)
    nodes["b"].engine.goes_on.clear()
    answer = await say(nodes["a"])
    assert speakers(answer.content, NAMES) == {"c": len(TEXT.split())}


async def test_one_that_is_full_sends_its_sessions_to_the_next_and_is_not_suspected(
    nodes: Nodes,
) -> None:
    nodes["b"].node.admission.is_draining = True
    assert (await say(nodes["a"])).headers["x-orpheus-clone-node"] == "c"
    nodes["b"].node.admission.is_draining = False
    await is_over(nodes)
    await know_each_other(nodes.values())
    assert (await say(nodes["a"])).headers["x-orpheus-clone-node"] == "b"


async def test_a_node_that_stops_lets_a_silent_session_go_and_one_that_speaks_end(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "LOOK_S", 0.05)
    async with socket(nodes["a"].address, voice=VOICE) as client:
        await client.say({"text": FIRST, "context_id": "x", "flush": True})
        await client.hear(lambda m: m.get("audio"))
        nodes["b"].node.admission.is_draining = True
        await client.say({"context_id": "x", "close_context": True})
        assert speakers(sound(await client.final("x")), NAMES) == {"b": len(FIRST.split())}
        await eventually(lambda: nodes["b"].is_idle, "the session has left")
        await client.say({"text": SECOND, "context_id": "y", "flush": True})
        await client.say({"context_id": "y", "close_context": True})
        assert speakers(sound(await client.final("y")), NAMES) == {"c": len(SECOND.split())}


async def test_a_node_that_is_about_to_stop_takes_no_client_though_another_would_speak(
    nodes: Nodes,
) -> None:
    nodes["a"].node.admission.is_draining = True
    refused = await say(nodes["a"])
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert (await say(nodes["b"])).status_code == 200


async def test_where_all_are_full_a_client_is_told_before_its_socket_is_accepted(
    nodes: Nodes,
) -> None:
    for node in nodes.values():
        node.node.admission.is_draining = True
    with pytest.raises(InvalidStatus) as refused:
        async with socket(nodes["a"].address, voice=VOICE):
            pass
    answer = refused.value.response
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert json.loads(answer.body)["error"]["type"] == "Busy"
    assert (await say(nodes["a"])).status_code == 503


async def test_an_engine_that_dies_here_leaves_the_session_to_another_node(nodes: Nodes) -> None:
    engine = nodes["b"].engine
    async with socket(nodes["b"].address, voice=VOICE) as client:
        await client.say({"text": TEXT, "context_id": "x", "flush": True})
        await client.hear(lambda m: m.get("audio"))
        engine.lives = False
        await client.say({"context_id": "x", "close_context": True})
        pcm = sound(await client.final("x"))
    assert words(pcm)[-len(SECOND.split()) :] == spelt(SECOND)
    assert speakers(pcm, NAMES)["c"] >= len(SECOND.split())


async def test_what_breaks_at_another_node_is_told_at_once_and_stands_in_its_log(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    nodes["b"].engine.breaks = True
    answer = await say(nodes["a"])
    assert answer.status_code == 503
    assert "this node could not speak it: RuntimeError" in answer.json()["error"]["message"]
    assert "CUDA error" in caplog.text


async def test_a_context_that_finds_no_room_leaves_the_others_of_its_socket_where_they_are(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elevenlabs, "PATIENCE_S", 0.05)
    nodes["b"].node.admission.rates.begin_with(1, ENOUGH / 2)
    engine = nodes["b"].engine
    async with socket(nodes["a"].address, voice=VOICE) as client:
        await client.say({"text": TEXT, "context_id": "x", "flush": True})
        await client.hear(lambda m: m.get("audio"))
        engine.goes_on.clear()
        await client.say({"text": SECOND, "context_id": "y", "flush": True})
        await client.hear(lambda m: m.get("error"))
        engine.goes_on.set()
        await client.say({"context_id": "x", "close_context": True})
        assert words(sound(await client.final("x"))) == spelt(TEXT)
    assert nodes["b"].network.connections == 1


async def test_an_utterance_that_kills_every_node_is_not_tried_on_all_of_them(
    base: BaseModel, tmp_path: Path
) -> None:
    publish(base, tmp_path, VOICE)
    async with neighbours(base, tmp_path, "abcde") as nodes:
        for node in nodes.values():
            node.engine.dies_of = "poison"
        answer = await say(nodes["a"], "This is poison.")
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "EngineDead")
        assert sum(node.engine.asked for node in nodes.values()) == 3


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
    url = f"ws://{nodes['c'].address}{wire.PATH}?voice={VOICE}"
    bundle = nodes["c"].node.store.pointer(VOICE).current
    async with connect(f"{url}&bundle={bundle}") as other:
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
        url = f"ws://{nodes['b'].address}{wire.PATH}?voice={VOICE}"
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


async def test_the_clients_trace_and_session_go_with_it(nodes: Nodes) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"traceparent": trace, "x-orpheus-clone-session": "mine"}
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        url = f"http://{nodes['a'].address}/v1/text-to-speech/{VOICE}"
        await http.post(url, json={"text": FIRST}, headers=headers)
    sent = nodes["b"].network.sent
    assert trace[:35].encode() in sent
    assert b"x-orpheus-clone-session: mine" in sent
