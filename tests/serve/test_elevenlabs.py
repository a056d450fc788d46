"""ElevenLabs' sockets: text in as it comes, sound out, contexts, interruptions."""

import asyncio
import io
from typing import Any

import av
import httpx
import pytest

from orpheus_clone.models import BaseModel
from orpheus_clone.tokens import FRAME_SAMPLES, SAMPLE_RATE
from tests.serve.talking import (
    Talker,
    engine,
    eventually,
    letters,
    limits,
    node,
    socket,
    sound,
)

SENTENCE = "Good morning to you. "


__all__ = ["engine", "limits", "node"]


def frames(pcm: bytes) -> int:
    """Of the first, a little silence may have been dropped."""
    return -(-len(pcm) // (2 * FRAME_SAMPLES))


async def test_a_single_stream_ends_with_an_empty_text_and_is_closed(
    node: str, engine: Talker
) -> None:
    async with socket(node, "stream-input") as client:
        await client.say({"text": " ", "voice_settings": {"stability": 0.5}})
        await client.say({"text": "Good mor"}, {"text": "ning. "}, {"text": ""})
        messages = await client.final()
        assert frames(sound(messages)) == 2
        assert await client.closed() == 1000
    assert len(engine.requests) == 1
    assert letters(messages) == "Good morning. "
    assert not any("contextId" in message for message in messages)


async def test_a_space_that_comes_alone_parts_two_words(node: str) -> None:
    async with socket(node, "stream-input") as client:
        await client.say({"text": " "}, {"text": "Good"}, {"text": " "}, {"text": "morning."})
        await client.say({"text": ""})
        assert letters(await client.final()) == "Good morning. "


async def test_contexts_speak_side_by_side_and_are_named_for_both_kinds_of_clients(
    node: str,
) -> None:
    names = [f"turn-{i}" for i in range(20)]
    async with socket(node) as client:
        for name in names:
            await client.say({"text": SENTENCE, "context_id": name, "flush": True})
            await client.say({"context_id": name, "close_context": True})
            messages = await client.final(name)
            assert frames(sound(messages)) == 2
            assert all(message["context_id"] == name for message in messages)


async def test_twenty_contexts_may_be_open_at_a_time(node: str) -> None:
    names = [f"turn-{i}" for i in range(20)]
    async with socket(node) as client:
        await client.say(*({"text": " ", "context_id": name} for name in names))
        await client.say(*({"text": SENTENCE, "context_id": n, "flush": True} for n in names))
        await client.say({"close_socket": True})
        assert await client.closed() == 1000
    for name in names:
        assert frames(sound([m for m in client.heard if m.get("contextId") == name])) == 2


async def test_a_context_goes_on_after_a_flush_and_is_final_only_when_it_is_closed(
    node: str, engine: Talker
) -> None:
    async with socket(node) as client:
        for said in range(1, 4):
            await client.say({"text": SENTENCE, "context_id": "a", "flush": True})
            await client.hear(lambda m: letters([m]).endswith(". "))
            assert len(engine.requests) == said
        assert not any(message.get("isFinal") for message in client.heard)
        await client.say({"context_id": "a", "close_context": True})
        await client.final("a")
    prompts = [len(request.prompt) for request in engine.requests]
    assert prompts[1] > prompts[0], "the second sentence goes on from the first"


async def test_without_a_flush_one_sentence_waits_for_a_second(node: str, engine: Talker) -> None:
    async with socket(node) as client:
        await client.say({"text": SENTENCE})
        await client.settled()
        assert not engine.requests
        await client.say({"text": SENTENCE}, {"text": "And "})
        await client.hear(lambda m: m.get("audio"))
        assert engine.requests


async def test_in_auto_mode_each_text_is_spoken_as_it_comes(node: str, engine: Talker) -> None:
    async with socket(node, auto_mode="true") as client:
        await client.say({"text": "Good morning", "context_id": "a"})
        await client.hear(lambda m: letters([m]).endswith(" "))
    assert letters(client.heard) == "Good morning "


async def test_messages_that_come_at_once_leave_others_their_turn(
    node: str, engine: Talker
) -> None:
    async with socket(node, auto_mode="true") as client:
        await client.say(*({"text": f"{word} ", "context_id": "a"} for word in ["One", "two"]))
        await client.hear(lambda m: letters([m]).endswith("two "))
    assert len(engine.requests) == 2


@pytest.mark.parametrize("named", [{}, {"context_id": "a"}, {"context_id": "never-opened"}])
async def test_a_keep_alive_closes_nothing_and_opens_nothing(
    node: str, named: dict[str, str]
) -> None:
    async with socket(node) as client:
        await client.say({"text": SENTENCE, "context_id": "a"}, {"text": "", **named})
        await client.settled()
        assert not any(message.get("isFinal") for message in client.heard)
        await client.say({"context_id": "a", "flush": True})
        await client.say({"close_socket": True})
        assert await client.closed() == 1000
    finals = [message["contextId"] for message in client.heard if message.get("isFinal")]
    assert finals == ["a"]
    assert letters(client.heard) == SENTENCE


async def test_closing_what_was_flushed_lets_it_be_spoken_to_its_end(
    node: str, engine: Talker
) -> None:
    engine.frames = 20
    async with socket(node) as client:
        await client.say({"text": SENTENCE, "context_id": "a"})
        await client.say({"context_id": "a", "flush": True})
        await client.say({"context_id": "a", "close_context": True})
        assert frames(sound(await client.final("a"))) == 20


async def test_an_interruption_closes_the_generation_and_keeps_what_follows(
    node: str, engine: Talker
) -> None:
    engine.frames = None
    async with socket(node) as client:
        await client.say({"text": SENTENCE, "context_id": "a", "flush": True})
        await client.hear(lambda m: m.get("audio"))
        await client.say({"text": "And you", "context_id": "a"})  # not flushed: still being said
        await client.say({"context_id": "a", "close_context": True})
        await client.final("a")
        assert engine.open == 0
        assert engine.made < engine.requests[0].max_frames
        engine.frames = 2
        await client.say({"text": SENTENCE, "context_id": "b", "flush": True})
        await client.say({"context_id": "b", "close_context": True})
        assert frames(sound(await client.final("b"))) == 2


async def test_closing_a_second_time_cuts_off_what_the_first_let_be_spoken(
    node: str, engine: Talker
) -> None:
    engine.frames = None
    async with socket(node) as client:
        await client.say({"text": SENTENCE, "context_id": "a", "flush": True})
        await client.say({"context_id": "a", "close_context": True})
        await client.hear(lambda m: m.get("audio"))
        await client.say({"context_id": "a", "close_context": True})
        await client.final("a")
        assert engine.open == 0
        assert engine.made < engine.requests[0].max_frames


async def test_a_name_may_be_used_again_for_another_context(node: str, engine: Talker) -> None:
    async with socket(node) as client:
        for _ in range(2):
            await client.say({"text": SENTENCE, "context_id": "a", "flush": True})
            await client.say({"context_id": "a", "close_context": True})
            await client.final("a")
    assert len({len(request.prompt) for request in engine.requests}) == 1


async def test_closing_the_socket_lets_be_spoken_what_was_flushed_and_drops_the_rest(
    node: str, engine: Talker
) -> None:
    async with socket(node) as client:
        await client.say({"text": SENTENCE, "context_id": "a", "flush": True})
        await client.say({"text": SENTENCE, "context_id": "b"})
        await client.say({"close_socket": True})
        assert await client.closed() == 1000
    assert frames(sound([m for m in client.heard if m.get("contextId") == "a"])) == 2
    assert not sound([m for m in client.heard if m.get("contextId") == "b"])


async def test_closing_the_socket_over_a_text_that_was_not_flushed_is_told_too(node: str) -> None:
    async with socket(node) as client:
        await client.say({"text": SENTENCE, "context_id": "a"})
        await client.say({"close_socket": True})
        assert await client.closed() == 1000
    assert [m["contextId"] for m in client.heard if m.get("isFinal")] == ["a"]


async def test_a_socket_that_is_closing_opens_no_context(node: str, engine: Talker) -> None:
    engine.frames = 20
    async with socket(node) as client:
        await client.say({"text": SENTENCE, "context_id": "a", "flush": True})
        await client.say({"close_socket": True}, {"text": SENTENCE, "context_id": "b"})
        assert await client.closed() == 1000
    assert [m["error"] for m in client.heard if m.get("contextId") == "b"] == [
        "the socket is closing; open another"
    ]
    assert frames(sound([m for m in client.heard if m.get("contextId") == "a"])) == 20


async def test_a_client_that_hangs_up_ends_the_generation_and_leaves_no_task(
    node: str, engine: Talker
) -> None:
    engine.frames = None
    before = asyncio.all_tasks()
    async with socket(node) as client:
        await client.say({"text": SENTENCE, "context_id": "a", "flush": True})
        await client.hear(lambda m: m.get("audio"))
        assert engine.open == 1
    await eventually(lambda: not engine.open, "the generation is closed")
    await eventually(lambda: not asyncio.all_tasks() - before, "no task is left")


@pytest.mark.parametrize("text", ["… ", "!!! ", "🙂 "])
async def test_a_text_without_a_word_is_a_little_silence_and_no_failure(
    node: str, engine: Talker, text: str
) -> None:
    async with socket(node) as client:
        await client.say({"text": text, "context_id": "a", "flush": True})
        await client.say({"context_id": "a", "close_context": True})
        heard = sound(await client.final("a"))
    assert not engine.requests
    assert len(heard) == 2 * SAMPLE_RATE // 50
    assert not any(heard)


async def test_a_context_without_text_is_final_without_sound(node: str) -> None:
    async with socket(node) as client:
        await client.say({"text": " ", "context_id": "a"})
        await client.say({"context_id": "a", "close_context": True})
        assert sound(await client.final("a")) == b""


async def test_text_that_cannot_be_spoken_fails_its_context_and_no_other(node: str) -> None:
    async with socket(node) as client:
        await client.say({"text": "Say <|eot_id|> now. ", "context_id": "a", "flush": True})
        error = await client.hear(lambda m: "error" in m)
        assert (error["contextId"], error["code"]) == ("a", 1008)
        assert "control token" in error["error"]
        await client.say({"text": SENTENCE, "context_id": "b", "flush": True})
        await client.say({"context_id": "b", "close_context": True})
        assert sound(await client.final("b"))


async def test_offsets_start_anew_in_every_message_and_add_up_to_the_sound(
    node: str, engine: Talker
) -> None:
    engine.frames = 12
    async with socket(node) as client:
        await client.say({"text": SENTENCE * 2, "context_id": "a", "flush": True})
        await client.say({"context_id": "a", "close_context": True})
        messages = await client.final("a")
    assert letters(messages) == SENTENCE * 2
    assert len([m for m in messages if m.get("alignment")]) > 1
    assert span_ms(messages) == pytest.approx(1000 * len(sound(messages)) / 2 / SAMPLE_RATE, abs=20)


def span_ms(messages: list[dict[str, Any]]) -> int:
    """How long all of what the alignments spell lasts, added up message by message."""
    span = 0
    for message in messages:
        times = message.get("alignment")
        assert message.get("normalizedAlignment") == times
        if times:
            starts, durations = times["charStartTimesMs"], times["charDurationsMs"]
            assert len(times["chars"]) == len(starts) == len(durations)
            assert starts == sorted(starts)
            assert min(starts + durations) >= 0
            span += starts[-1] + durations[-1]
    return span


async def test_the_speed_of_the_voice_settings_is_followed(node: str, engine: Talker) -> None:
    engine.frames = 12
    heard = {}
    async with socket(node) as client:
        for name, speed in (("plain", 1.0), ("fast", 2.0)):
            settings = {"voice_settings": {"speed": speed}, "context_id": name}
            await client.say({"text": " ", **settings})
            await client.say({"text": SENTENCE, "context_id": name, "flush": True})
            await client.say({"context_id": name, "close_context": True})
            messages = await client.final(name)
            heard[name] = len(sound(messages))
            seconds = heard[name] / 2 / SAMPLE_RATE
            assert span_ms(messages) == pytest.approx(1000 * seconds, abs=60)
    assert heard["fast"] == pytest.approx(heard["plain"] / 2, rel=0.1)


@pytest.mark.parametrize(
    ("form", "codec_name", "rate"),
    [
        ("mp3_22050_32", "mp3float", 22_050),
        ("mp3_44100_128", "mp3float", 44_100),
        ("opus_48000_32", "opus", 48_000),
        ("wav_16000", "pcm_s16le", 16_000),
    ],
)
async def test_a_stream_of_a_format_is_one_file_that_players_play(
    node: str, engine: Talker, form: str, codec_name: str, rate: int
) -> None:
    engine.frames = 12
    async with socket(node, output_format=form) as client:
        await client.say({"text": SENTENCE * 2, "context_id": "a", "flush": True})
        await client.say({"context_id": "a", "close_context": True})
        heard = sound(await client.final("a"))
    with av.open(io.BytesIO(heard), "r") as file:
        stream = file.streams.audio[0]
        assert (stream.codec_context.name, stream.rate) == (codec_name, rate)
        seconds = sum(int(frame.samples) for frame in file.decode(stream)) / rate
    assert seconds == pytest.approx(12 * FRAME_SAMPLES / SAMPLE_RATE, abs=0.1)


@pytest.mark.parametrize(
    ("form", "bytes_a_second"), [("pcm_8000", 16_000), ("pcm_44100", 88_200), ("ulaw_8000", 8000)]
)
async def test_samples_come_at_the_rate_that_was_asked_for(
    node: str, engine: Talker, form: str, bytes_a_second: int
) -> None:
    engine.frames = 12
    async with socket(node, output_format=form) as client:
        await client.say({"text": SENTENCE * 2, "context_id": "a", "flush": True})
        await client.say({"context_id": "a", "close_context": True})
        seconds = len(sound(await client.final("a"))) / bytes_a_second
    assert seconds == pytest.approx(12 * FRAME_SAMPLES / SAMPLE_RATE, abs=0.04)


async def test_the_voices_are_listed_as_its_clients_read_them(node: str, base: BaseModel) -> None:
    async with httpx.AsyncClient() as http:
        voices = (await http.get(f"http://{node}/v1/voices")).json()["voices"]
    assert [voice["voice_id"] for voice in voices] == list(base.voices)
    assert {voice["category"] for voice in voices} == {"premade"}


async def test_synchronised_offsets_are_from_the_start_of_the_context(
    node: str, engine: Talker
) -> None:
    engine.frames = 12
    async with socket(node, sync_alignment="true") as client:
        await client.say({"text": SENTENCE * 2, "context_id": "a", "flush": True})
        await client.say({"context_id": "a", "close_context": True})
        messages = await client.final("a")
    aligned = [message["alignment"] for message in messages if message.get("alignment")]
    starts = [start for times in aligned for start in times["charStartTimesMs"]]
    assert starts == sorted(starts)
    end_ms = starts[-1] + aligned[-1]["charDurationsMs"][-1]
    assert end_ms == pytest.approx(1000 * len(sound(messages)) / 2 / SAMPLE_RATE, abs=2)
