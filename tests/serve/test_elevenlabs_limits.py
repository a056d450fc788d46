"""What a socket may not do: refused before it is accepted, or closed with a reason."""

import asyncio
import dataclasses
import json
import socket as sockets
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from orpheus_clone.codec.snac import Codec
from orpheus_clone.models import BaseModel
from orpheus_clone.serve.limits import Limits, Rate
from tests.serve.talking import Socket, Talker, engine, eventually, letters, node, socket, talking

LIMITS = Limits(write_stall_seconds=0.3)
SENTENCE = "Good morning to you. "


__all__ = ["engine", "node"]


@pytest.fixture
def limits() -> Limits:
    return LIMITS


async def refused(address: str, path: str, **headers: str) -> tuple[int, str, str | None]:
    """Status, message and Retry-After of a handshake that is not accepted."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"ws://{address}{path}", additional_headers=headers):
            pass
    response = caught.value.response
    error = json.loads(response.body or b"")["error"]
    assert error["code"] == response.status_code
    return response.status_code, error["message"], response.headers.get("retry-after")


MULTI = "/v1/text-to-speech/ada/multi-stream-input"


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v1/text-to-speech/nobody/multi-stream-input", 404, "no voice 'nobody'"),
        ("/v1/text-to-speech/nobody/stream-input", 404, "no voice 'nobody'"),
        ("/v1/text-to-speech/NOBODY/stream-input", 400, "voice name"),
        (MULTI + "?output_format=mp3_8000_8", 400, "output_format: 'mp3_8000_8' is none of"),
        (MULTI + "?inactivity_timeout=181", 400, "not from 0.1 to 180 seconds"),
        (MULTI + "?inactivity_timeout=1e-6", 400, "not from 0.1 to 180 seconds"),
        (MULTI + "?inactivity_timeout=nan", 400, "not from 0.1 to 180 seconds"),
        (MULTI + "?inactivity_timeout=soon", 400, "'soon' is not from 0.1"),
    ],
)
async def test_what_cannot_be_served_is_refused_before_the_socket_is_accepted(
    node: str, path: str, status: int, message: str
) -> None:
    answered, said, _ = await refused(node, path)
    assert answered == status
    assert message in said


async def test_when_the_engine_is_dead_a_socket_is_told_when_to_come_back(
    node: str, engine: Talker
) -> None:
    engine.lives = False
    status, message, retry_after = await refused(node, MULTI)
    assert (status, retry_after) == (503, "2")
    assert "restart this node" in message


async def test_a_socket_needs_a_key_in_either_header(
    engine: Talker, codec: Codec, base: BaseModel, tmp_path: Path
) -> None:
    async with talking(engine, codec, base, tmp_path, keys=("right",)) as node:
        assert (await refused(node, MULTI))[0] == 401
        assert (await refused(node, MULTI, **{"xi-api-key": "wrong"}))[0] == 401
        both = {"xi-api-key": "right", "authorization": "Bearer wrong"}
        assert (await refused(node, MULTI, **both))[0] == 401
        for accepted in ({"xi-api-key": "right"}, {"authorization": "Bearer right"}):
            async with connect(f"ws://{node}{MULTI}", additional_headers=accepted) as open_:
                await Socket(open_).settled()


async def test_the_first_message_of_a_socket_publishes_its_limits(node: str) -> None:
    async with socket(node) as client:
        await client.say({"text": SENTENCE, "context_id": "a", "flush": True})
        await client.say({"context_id": "a", "close_context": True})
        first, *others = await client.final("a")
    assert first["limits"] == dataclasses.asdict(LIMITS)
    assert first["limits"]["frame_bytes"] == 65_536
    assert not any("limits" in message for message in others)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("", "the message: "),
        ("{", "the message: Invalid JSON"),
        ("[]", "the message: Input should be an object"),
        ('{"text": 7}', "text: "),
        ('{"text": "Hi ", "flush": "yes"}', "flush: "),
        ('{"text": " ", "voice_settings": {"speed": 9}}', "voice_settings.speed: "),
        ('{"text": " ", "voice_settings": {"speed": NaN}}', "voice_settings.speed: "),
        (json.dumps({"text": "Hi", "context_id": "x" * 257}), "context_id: "),
    ],
)
async def test_a_broken_message_is_answered_with_what_is_wrong_and_the_socket_lives(
    node: str, message: str, error: str
) -> None:
    async with socket(node) as client:
        await client.say(message)
        answer = await client.hear(lambda _: True)
        assert answer["code"] == 1008
        assert answer["error"].startswith(error)
        await client.say({"text": SENTENCE, "context_id": "a", "flush": True})
        await client.say({"context_id": "a", "close_context": True})
        assert await client.final("a")


async def test_a_broken_message_closes_a_single_stream(node: str) -> None:
    async with socket(node, "stream-input") as client:
        await client.say('{"text": 7}')
        assert await client.closed() == 1008


async def test_bytes_are_no_message(node: str) -> None:
    async with socket(node) as client:
        await client.connection.send(b"\x00\x01")
        assert "error" in await client.hear(lambda _: True)


@pytest.mark.parametrize(("size", "closes"), [(65_536, False), (65_537, True)])
async def test_a_message_has_at_most_64_kib(node: str, size: int, closes: bool) -> None:
    empty = len(json.dumps({"x": ""}))
    async with socket(node) as client:
        await client.say({"x": "x" * (size - empty)})
        if closes:
            assert await client.closed() == 1009
        else:
            await client.settled()


@pytest.mark.parametrize(("characters", "fits"), [(8000, True), (8001, False)])
async def test_a_context_holds_8000_characters_that_are_not_spoken_yet(
    node: str, engine: Talker, characters: int, fits: bool
) -> None:
    engine.frames = 1
    async with socket(node) as client:
        await client.say({"text": "x" * 100, "context_id": "a"})
        await client.say({"text": "y" * (characters - 100), "context_id": "a"})
        if fits:
            await client.settled()
            assert not any(m.get("contextId") == "a" and "error" in m for m in client.heard)
        else:
            error = await client.hear(lambda m: "error" in m)
            assert (error["contextId"], error["code"]) == ("a", 1008)
            assert "8000 characters" in error["error"]


async def test_a_single_stream_that_ends_with_too_much_text_is_closed(node: str) -> None:
    async with socket(node, "stream-input") as client:
        await client.say({"text": "x" * 8001, "close_socket": True})
        assert await client.closed() == 1008
    assert "8000 characters" in client.heard[-1]["error"]


async def test_more_than_8000_characters_may_be_said_in_all(node: str, engine: Talker) -> None:
    engine.frames = 1
    async with socket(node) as client:
        for _ in range(5):
            await client.say({"text": SENTENCE * 100, "context_id": "a", "flush": True})
            enough = len(engine.requests) + 10
            await client.hear(lambda _, enough=enough: len(engine.requests) > enough)  # type: ignore[misc]
        await client.say({"context_id": "a", "close_context": True})
        await client.final("a")
    assert not any("error" in message for message in client.heard)


async def test_twenty_messages_without_text_come_at_once_and_no_more(node: str) -> None:
    async with socket(node) as client:
        await client.say(*(20 * [{"text": ""}]))
        await client.say({"text": SENTENCE, "context_id": "a"})
        await client.say(*(20 * [{"text": ""}]))
        assert await client.closed() == 1008
    assert "20 messages a second" in client.heard[-1]["error"]


async def test_a_paste_may_come_at_once_and_a_flood_of_text_is_refused(node: str) -> None:
    async with socket(node) as client:
        for i in range(2):
            await client.say({"text": "x" * LIMITS.buffer_characters, "context_id": f"{i}"})
        await client.settled()
        assert len(client.heard) == 1
        await client.say(*(10 * [{"text": "x" * 1000, "context_id": "more"}]))
        assert await client.closed() == 1008
    assert "more than 16000 characters a second" in client.heard[-1]["error"]


async def test_a_flood_of_single_letters_is_refused_as_one_of_text_is(node: str) -> None:
    async with socket(node) as client:
        await client.say(*(500 * [{"text": "x"}]))
        await client.settled()
        await client.say(*(2000 * [{"text": "x"}]))
        assert await client.closed() == 1008
    assert "a message counts as 16 at least" in client.heard[-1]["error"]


def test_a_rate_is_filled_again_with_time() -> None:
    now = 0.0
    rate = Rate(20, lambda: now)
    assert [rate.allows() for _ in range(21)] == 20 * [True] + [False]
    now = 0.1
    assert [rate.allows() for _ in range(3)] == [True, True, False]
    now = 100.0
    assert [rate.allows() for _ in range(21)] == 20 * [True] + [False]
    now = 200.0
    assert [rate.allows(cost) for cost in (12, 9, 8, 1)] == [True, False, True, False]


async def test_as_many_contexts_are_open_as_the_limit_says_and_the_next_is_told(
    node: str,
) -> None:
    async with socket(node) as client:
        for i in range(LIMITS.contexts):
            await client.say({"text": " ", "context_id": f"{i}"})
        await client.say({"text": " ", "context_id": "one more"})
        error = await client.hear(lambda m: "error" in m)
        assert (error["contextId"], error["code"]) == ("one more", 1008)
        await client.say({"context_id": "0", "close_context": True})
        await client.final("0")
        await client.say({"text": SENTENCE, "context_id": "one more", "flush": True})
        await client.say({"context_id": "one more", "close_context": True})
        await client.final("one more")


@pytest.mark.parametrize("form", ["stream-input", "multi-stream-input"])
async def test_a_socket_on_which_nothing_is_said_is_closed(node: str, form: str) -> None:
    async with socket(node, form, inactivity_timeout=0.2) as client:
        await client.say({"text": " ", "context_id": "a"})
        assert await client.closed() == 1008
    assert client.heard[-1]["error"] == "nothing was heard for 0.2 s"


@pytest.mark.parametrize(
    "message", [{"text": "Half a sentence, and"}, {"text": "<foo> ", "flush": True}]
)
async def test_a_text_of_which_nothing_is_to_be_spoken_now_keeps_no_socket_open(
    node: str, message: dict[str, Any]
) -> None:
    async with socket(node, inactivity_timeout=0.2) as client:
        await client.say(message)
        assert await client.closed() == 1008
    assert client.heard[-1]["error"] == "nothing was heard for 0.2 s"


async def test_sound_breaks_the_silence_as_a_message_does(
    engine: Talker, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.may_speak.clear()
    loop, skipped = asyncio.get_running_loop(), 0.0
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + skipped)
    async with socket(node, inactivity_timeout=10) as client:
        await client.say({"text": SENTENCE, "flush": True})
        await eventually(lambda: engine.open, "it is asked to speak")
        skipped += 9
        engine.may_speak.set()
        await client.hear(lambda m: letters([m]).endswith("you. "))
        skipped += 9
        await client.settled()
        assert "nothing was heard" not in client.heard[-1]["error"]
        skipped += 11
        assert await client.closed() == 1008


async def test_a_socket_that_speaks_is_not_idle(node: str, engine: Talker) -> None:
    engine.frames = None
    async with socket(node, inactivity_timeout=0.1) as client:
        await client.say({"text": SENTENCE, "context_id": "a", "flush": True})
        await client.say({"context_id": "a", "close_context": True})
        heard = await client.final("a")
    assert heard[-1]["isFinal"]
    assert engine.made == engine.requests[0].max_frames


async def test_a_client_that_reads_nothing_is_left_and_the_engine_with_it(
    node: str, engine: Talker
) -> None:
    engine.frames = None
    host, port = node.split(":")
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.connect((host, int(port)))
    async with connect(f"ws://{node}{MULTI}?output_format=pcm_48000", sock=raw) as deaf:
        deaf.transport.pause_reading()
        for i in range(10):
            text = {"text": SENTENCE * 50, "context_id": f"{i}", "flush": True}
            await deaf.send(json.dumps(text))
        await eventually(lambda: engine.open, "it speaks")
        await eventually(lambda: not engine.open, "it speaks no more")
        # What is held for a client is bounded by the buffers beneath; PCM at 48 kHz in base64.
        assert engine.made * 2048 * 2 * 2 * 4 / 3 < 2 * 2**20
        deaf.transport.abort()
