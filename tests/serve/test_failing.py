"""Sessions whose node dies, hangs, stops or is full: they go on at another.

Nodes, sockets and the network between them are real, as in test_carrying.
"""

import io
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

import av
import httpx
import pytest
from websockets.exceptions import InvalidStatus

from orpheus_clone.models import BaseModel
from orpheus_clone.serve import elevenlabs, hosting, links
from orpheus_clone.serve.formats import OpenAIFormat
from orpheus_clone.serve.rates import ENOUGH
from orpheus_clone.tokens import FRAME_SAMPLES, SAMPLE_RATE
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
    neighbours,
    nodes,
    publish,
    say,
    speakers,
    spelt,
    words,
)
from tests.serve.talking import eventually, letters, socket, sound

__all__ = ["nodes"]


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


async def check_c_says_the_rest(asked: Neighbour, breaks: Callable[[], None]) -> None:
    """After `breaks`, which comes with the first sound."""
    async with socket(asked.address, voice=VOICE) as client:
        await client.say({"text": TEXT, "context_id": "x", "flush": True})
        await client.hear(lambda m: m.get("audio"))
        breaks()
        await client.say({"context_id": "x", "close_context": True})
        pcm = sound(await client.final("x"))
    assert words(pcm)[-len(SECOND.split()) :] == spelt(SECOND)
    assert speakers(pcm, NAMES)["c"] >= len(SECOND.split())


async def test_a_node_that_hangs_is_given_up(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "PING_S", 0.1)
    monkeypatch.setattr(links, "PONG_S", 0.2)
    await check_c_says_the_rest(nodes["a"], nodes["b"].network.swallow)


async def test_a_node_that_lets_nobody_in_is_passed_over_and_suspected(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "OPEN_S", 0.2)
    nodes["b"].network.swallow()
    for _ in range(2):
        answer = await say(nodes["a"])
        assert words(answer.content) == spelt(TEXT)
        assert answer.headers["x-orpheus-clone-node"] != "b"
    assert nodes["b"].network.connections == 1


async def test_a_node_that_says_nothing_is_given_up_though_it_answers_pings(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "SILENT_S", 0.3)
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


async def test_a_context_that_is_open_and_silent_holds_no_node_that_stops(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "LOOK_S", 0.05)
    async with socket(nodes["a"].address, voice=VOICE) as client:
        await client.say({"text": FIRST, "context_id": "x", "flush": True})
        await client.hear(lambda m: m.get("audio"))
        nodes["b"].node.admission.is_draining = True
        await eventually(lambda: nodes["b"].is_idle, "the session has left")
        await client.say({"text": SECOND, "context_id": "x", "flush": True})
        await client.say({"context_id": "x", "close_context": True})
        pcm = sound(await client.final("x"))
    assert words(pcm) == spelt(TEXT)
    assert speakers(pcm, NAMES) == {"b": len(FIRST.split()), "c": len(SECOND.split())}


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
    await check_c_says_the_rest(nodes["b"], nodes["b"].engine.die)


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
