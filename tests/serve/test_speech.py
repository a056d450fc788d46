"""A node through OpenAI's client: sound in every form, and what is refused."""

import asyncio
import base64
import io
import json
import struct
from typing import Any, Literal, get_args

import av
import httpx
import numpy as np
import openai
import pytest

from orpheus_clone.serve.formats import OpenAIFormat
from tests.bundles import SHORT_FRAMES, frames_of
from tests.nodes import RunningNode
from tests.waiting import eventually

LONG = "This is said for a long time. " * 20
STOCK = "ada"


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error in OpenAI's shape."""
    data = response.json()
    assert set(data) == {"error"}
    assert set(data["error"]) == {"message", "type", "code"}
    assert data["error"]["code"] == response.status_code
    error: dict[str, Any] = data["error"]
    return error


def test_wav_is_a_riff_of_whole_frames(node: RunningNode, jack: str) -> None:
    answer = node.openai.audio.speech.create(
        model="nano", voice=jack, input="Hello.", response_format="wav"
    )
    sound = answer.read()
    assert frames_of(sound[44:]) == SHORT_FRAMES
    riff, _, wave, fmt, size, kind, channels, rate, per_second, block, bits, data, _ = (
        struct.unpack("<4sI4s4sIHHIIHH4sI", sound[:44])
    )
    assert (riff, wave, fmt, data, size) == (b"RIFF", b"WAVE", b"fmt ", b"data", 16)
    assert (kind, channels, rate, per_second, block, bits) == (1, 1, 24_000, 48_000, 2, 16)
    assert answer.response.headers["content-type"] == "audio/wav"
    assert np.abs(np.frombuffer(sound[44:], "<i2")).max() > 0


def test_pcm_is_the_same_without_the_header(node: RunningNode, jack: str) -> None:
    sounds = {}
    formats: tuple[Literal["wav", "pcm"], ...] = ("wav", "pcm")
    for form in formats:
        answer = node.openai.audio.speech.create(
            model="nano", voice=jack, input="Hello.", response_format=form
        )
        sounds[form] = answer.read()
    # Not the same sound: SNAC's decoder adds noise of its own.
    assert frames_of(sounds["pcm"]) == frames_of(sounds["wav"][44:]) == SHORT_FRAMES
    assert sounds["pcm"][:4] != b"RIFF"


def test_mp3_is_what_comes_when_no_format_is_named(node: RunningNode, jack: str) -> None:
    answer = node.openai.audio.speech.create(model="nano", voice=jack, input="Hello.")
    assert answer.response.headers["content-type"] == "audio/mpeg"
    assert answer.response.headers["x-orpheus-clone-node"] == node.url
    assert heard(answer.read())[0] == "mp3float"


def heard(sound: bytes) -> tuple[str, float]:
    """What a player finds in a file: its codec, and seconds."""
    with av.open(io.BytesIO(sound), "r") as file:
        stream = file.streams.audio[0]
        samples = sum(int(frame.samples) for frame in file.decode(stream))
        return stream.codec_context.name, samples / stream.rate


MEDIA_TYPES = {
    "mp3": ("audio/mpeg", "mp3float"),
    "opus": ("audio/ogg", "opus"),
    "aac": ("audio/aac", "aac"),
    "flac": ("audio/flac", "flac"),
    "wav": ("audio/wav", "pcm_s16le"),
    "pcm": ("audio/pcm", "pcm_s16le"),
}


@pytest.mark.parametrize("form", get_args(OpenAIFormat))
def test_every_format_of_openai_is_spoken(node: RunningNode, jack: str, form: OpenAIFormat) -> None:
    answer = node.openai.audio.speech.create(
        model="nano", voice=jack, input="Hello.", response_format=form, instructions="Softly."
    )
    media_type, codec = MEDIA_TYPES[form]
    assert answer.response.headers["content-type"] == media_type
    sound = answer.read()
    if form == "pcm":
        assert frames_of(sound) == SHORT_FRAMES
        return
    name, seconds = heard(sound)
    assert name == codec
    # Of the first frame some silence may be left out; mp3 and aac begin with some of their own.
    assert seconds == pytest.approx(SHORT_FRAMES * 2048 / 24_000, abs=0.11)


@pytest.mark.parametrize("speed", [0.25, 0.5, 2.0, 4.0])
def test_speech_is_as_much_shorter_as_it_is_faster(
    node: RunningNode, jack: str, speed: float
) -> None:
    answer = node.openai.audio.speech.create(
        model="nano", voice=jack, input="Hello.", response_format="pcm", speed=speed
    )
    seconds = len(answer.read()) / 2 / 24_000
    assert seconds == pytest.approx(SHORT_FRAMES * 2048 / 24_000 / speed, abs=0.1 / speed)


def test_events_of_a_packed_format_are_one_file(node: RunningNode, jack: str) -> None:
    with node.openai.audio.speech.with_streaming_response.create(
        model="nano", voice=jack, input="Hello.", response_format="opus", stream_format="sse"
    ) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    *deltas, done = map(json.loads, lines)
    assert done["type"] == "speech.audio.done"
    assert len(deltas) > 1
    assert heard(b"".join(base64.b64decode(delta["audio"]) for delta in deltas))[0] == "opus"


def test_a_voice_may_come_as_an_object(node: RunningNode, jack: str) -> None:
    body = {"model": "nano", "input": "Hello.", "voice": {"id": jack}, "response_format": "wav"}
    answer = httpx.post(f"{node.url}/v1/audio/speech", json=body, timeout=60)
    assert frames_of(answer.content[44:]) == SHORT_FRAMES


def test_events_carry_the_sound_and_end_with_the_usage(node: RunningNode, jack: str) -> None:
    answer = node.speak("Hello.", jack, response_format="pcm", stream_format="sse")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    *deltas, done = events
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    sound = b"".join(base64.b64decode(event["audio"]) for event in deltas)
    assert frames_of(sound) == SHORT_FRAMES
    usage = {"input_tokens": 6, "output_tokens": 7 * SHORT_FRAMES}
    usage["total_tokens"] = sum(usage.values())
    assert done == {"type": "speech.audio.done", "usage": usage}


def test_sound_comes_before_the_end_and_hanging_up_ends_the_work(node: RunningNode) -> None:
    def sessions() -> float:
        return node.figure("orpheus_clone_streams")

    assert sessions() == 0
    with node.openai.audio.speech.with_streaming_response.create(
        model="nano", voice=STOCK, input=LONG, response_format="pcm"
    ) as response:
        blocks = response.iter_bytes()
        assert next(blocks)
        assert sessions() == 1
    eventually(lambda: sessions() == 0, 2, "the generation has stopped")


def test_hanging_up_before_the_first_sound_ends_the_work_too(node: RunningNode) -> None:
    begun = node.figure("orpheus_clone_first_audio_seconds_count")
    body = {"model": "nano", "input": LONG, "voice": STOCK}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{node.url}/v1/audio/speech", json=body, timeout=httpx.Timeout(9, read=0.001))
    eventually(lambda: node.figure("orpheus_clone_streams") == 0, 5, "the work has stopped")
    assert node.figure("orpheus_clone_first_audio_seconds_count") <= begun + 1


def test_four_clients_are_spoken_to_at_a_time(node: RunningNode, jack: str) -> None:
    async def ask(client: httpx.AsyncClient) -> bytes:
        body = {"model": "nano", "input": "Hello.", "voice": jack, "response_format": "wav"}
        return (await client.post(f"{node.url}/v1/audio/speech", json=body)).content

    async def all_of_them() -> list[bytes]:
        async with httpx.AsyncClient(timeout=60) as client:
            return list(await asyncio.gather(*[ask(client) for _ in range(4)]))

    answers = asyncio.run(all_of_them())
    assert [frames_of(answer[44:]) for answer in answers] == 4 * [SHORT_FRAMES]


def test_the_models_are_the_base(node: RunningNode) -> None:
    assert [model.id for model in node.openai.models.list()] == ["nano"]


def test_an_unknown_voice_is_404_and_says_where_to_look(node: RunningNode) -> None:
    with pytest.raises(openai.NotFoundError, match=r"no voice 'nobody'.*/v1/audio/voices"):
        node.openai.audio.speech.create(model="nano", voice="nobody", input="Hello.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Hi. <|eot_id|>", "control token"),
        ("<custom_token_3> Hello.", "control token"),
        ("Hello.\x07", "control character"),
        ("", "nothing to say"),
        ("  \n ", "nothing to say"),
        ("🙂🎉", "nothing to say"),
        ("…!", "nothing to say"),
    ],
)
def test_a_text_that_cannot_be_spoken_is_400(
    node: RunningNode, jack: str, text: str, message: str
) -> None:
    for voice in (STOCK, jack):
        answer = node.speak(text, voice)
        assert answer.status_code == 400
        assert message in error_of(answer)["message"]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"response_format": "ogg"}, "response_format"),
        ({"response_format": 3}, "response_format"),
        ({"speed": 4.01}, "speed"),
        ({"speed": 0.24}, "speed"),
        ({"speed": "fast"}, "speed"),
        ({"stream_format": "websocket"}, "stream_format"),
        ({"input": "x" * 4097}, "input"),
        ({"input": 7}, "input"),
        ({"voice": None}, "voice.str"),
        ({"voice": {"name": "jack"}}, "voice.VoiceId.id"),
    ],
    ids=str,
)
def test_what_a_node_cannot_do_is_400_and_names_the_field(
    node: RunningNode, more: dict[str, object], field: str
) -> None:
    body = {"model": "nano", "input": "Hello.", "voice": STOCK, **more}
    answer = httpx.post(f"{node.url}/v1/audio/speech", json=body, timeout=60)
    assert answer.status_code == 400
    assert f"{field}: " in error_of(answer)["message"]


def test_a_body_that_is_no_json_is_400(node: RunningNode) -> None:
    answer = node.post("/v1/audio/speech", b"{", **{"content-type": "application/json"})
    assert answer.status_code == 400
    assert "JSON" in error_of(answer)["message"]


@pytest.mark.parametrize("name", ["../x", "..", "a/b", "jack/../ada", "JACK", "\x00"])
def test_a_voice_name_that_is_a_path_is_refused(node: RunningNode, name: str) -> None:
    answer = node.speak("Hello.", name)
    assert answer.status_code == 400
    assert "voice name" in error_of(answer)["message"]


def test_a_refusal_is_counted(node: RunningNode) -> None:
    def refused() -> float:
        return node.figure('orpheus_clone_rejected_total{reason="UnknownVoice"}')

    node.speak("Hello.", "nobody")
    before = refused()
    node.speak("Hello.", "nobody")
    assert refused() == before + 1


def test_sound_is_counted(node: RunningNode, jack: str) -> None:
    before = node.figure("orpheus_clone_audio_seconds_total")
    pcm = node.speak("Hello.", jack, response_format="pcm").content
    made = node.figure("orpheus_clone_audio_seconds_total") - before
    assert made == pytest.approx(len(pcm) / 2 / 24_000)
    assert frames_of(pcm) == SHORT_FRAMES


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_node_that_speaks_is_healthy(node: RunningNode, path: str) -> None:
    assert (node.get(path).status_code, node.get(path).json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/v1/audio/speech", 405), ("GET", "/docs", 404)],
)
def test_errors_of_the_router_have_the_same_shape(
    node: RunningNode, method: str, path: str, status: int
) -> None:
    answer = httpx.request(method, node.url + path)
    assert answer.status_code == status
    assert error_of(answer)["message"]
