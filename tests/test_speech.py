import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus_clone import models, speech, tokens
from orpheus_clone.bundle import Adapter
from orpheus_clone.codec.snac import Codec
from orpheus_clone.codec.window import JOIN
from orpheus_clone.engine.base import Engine, Request
from orpheus_clone.errors import EngineError, TextError, TokenError
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling
from orpheus_clone.script import Script
from orpheus_clone.speech import Chunk, Speaker, Voice
from tests.conftest import SmallRun
from tests.fakes import MutableCodec, ScriptedEngine

ADA = Voice("ada")
LONG = "This is the first sentence. " * 20


def script(frames: int, seed: int = 0) -> list[int]:
    codes = np.random.default_rng(seed).integers(0, 4096, (frames, 7))
    return tokens.codes_to_tokens(codes)


def speaker(engine: Engine, codec: Codec, base: BaseModel) -> Speaker:
    return Speaker(engine, codec, base)


def prompt_of(base: BaseModel, spoken: str) -> list[int]:
    return models.prompt_ids(base.tokenizer(), "ada", spoken, base.tags, base.language)


async def heard(chunks: AsyncGenerator[Chunk, None]) -> list[Chunk]:
    async with aclosing(chunks):
        return [chunk async for chunk in chunks]


@settings(deadline=None, max_examples=15)
@given(frames=st.integers(1, 8), size=st.integers(1, 20))
async def test_samples_are_frames_times_2048_however_tokens_come(
    codec: Codec, base: BaseModel, frames: int, size: int
) -> None:
    engine = ScriptedEngine([script(frames)], size=size)
    samples = await speaker(engine, codec, base).say("Hello.", ADA)
    assert samples.shape == (frames * 2048,)
    assert samples.dtype == np.float32


async def test_an_utterance_of_one_frame_is_heard(codec: Codec, base: BaseModel) -> None:
    engine = ScriptedEngine([script(1)])
    chunks = await heard(speaker(engine, codec, base).speak("Hi.", ADA))
    assert [len(chunk.samples) for chunk in chunks] == [2048 - JOIN, JOIN]
    assert [chunk.finish for chunk in chunks] == [None, "stop"]


async def test_code_0_is_a_legal_code(codec: Codec, base: BaseModel) -> None:
    engine = ScriptedEngine([tokens.codes_to_tokens(np.zeros((2, 7), np.int64))])
    assert len(await speaker(engine, codec, base).say("Hi.", ADA)) == 4096


async def test_the_sound_is_what_the_codec_makes_of_the_tokens(
    codec: Codec, base: BaseModel
) -> None:
    ids = script(12)
    samples = await speaker(ScriptedEngine([ids]), codec, base).say("Hi.", ADA)
    whole = codec.decode(tokens.tokens_to_codes(ids))
    assert 10 * np.log10((whole**2).mean() / ((samples - whole) ** 2).mean()) > 15


async def test_chunks_come_before_the_utterance_ends(codec: Codec, base: BaseModel) -> None:
    engine = ScriptedEngine([script(5)])
    async with aclosing(speaker(engine, codec, base).speak("Hello.", ADA)) as chunks:
        first = await anext(chunks)
        second = await anext(chunks)
        assert (len(first.samples), first.tokens) == (2048 - JOIN, 7)
        assert second.tokens == 7
        assert engine.open == 1


async def test_a_long_text_is_several_utterances_that_go_on_from_each_other(
    codec: Codec, base: BaseModel
) -> None:
    scripts = [script(2, seed) for seed in range(7)]
    engine = ScriptedEngine(scripts)
    chunks = await heard(speaker(engine, codec, base).speak(LONG, ADA))
    assert sum(len(chunk.samples) for chunk in chunks) == 2 * 2048 * 7
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["stop"] * 7
    assert sum(chunk.tokens for chunk in chunks) == 14 * 7
    first, second, third, *_ = (request.prompt for request in engine.requests)
    some = "This is the first sentence. " * 3
    assert first == prompt_of(base, some)
    assert second == prompt_of(base, some * 2) + scripts[0]
    assert third == prompt_of(base, some * 2) + scripts[1]


async def test_an_utterance_that_did_not_stop_is_not_gone_on_from(
    codec: Codec, base: BaseModel
) -> None:
    engine = ScriptedEngine([script(2, seed) for seed in range(7)], finish="length")
    await speaker(engine, codec, base).say(LONG, ADA)
    prompts = [request.prompt for request in engine.requests]
    assert prompts[:6] == [prompt_of(base, "This is the first sentence. " * 3)] * 6


async def test_what_would_be_too_long_together_is_not_gone_on_from(
    codec: Codec, base: BaseModel
) -> None:
    long = "This sentence has so many words in it that no other one goes with it, " * 2
    both = f"{long.strip(', ')}. {long.strip(', ')}."
    engine = ScriptedEngine([script(2), script(2)])
    await speaker(engine, codec, base).say(both, ADA)
    assert [len(r.prompt) for r in engine.requests] == [
        len(prompt_of(base, f"{long.strip(', ')}."))
    ] * 2
    slow = ScriptedEngine([script(177), script(2)])
    text = "This is the first sentence of this text. " * 3
    await speaker(slow, codec, base).say(text, ADA, max_seconds=20)
    assert slow.requests[1].prompt == prompt_of(base, "This is the first sentence of this text.")


async def test_between_utterances_that_begin_anew_there_is_a_pause(base: BaseModel) -> None:
    engine = ScriptedEngine([with_silence(0, 6, 6)] * 7)
    voice = Voice("ada", sampling=Sampling(context=False))
    codec = MutableCodec(base.codec_path)
    chunks = await heard(speaker(engine, codec, base).speak(LONG, voice))
    dropped_ms = [chunk.dropped / 24 for chunk in chunks if chunk.dropped]
    assert len(dropped_ms) == 7
    assert dropped_ms[0] == pytest.approx(512 - 30, abs=20)
    assert dropped_ms[1:] == pytest.approx([512 - 250] * 6, abs=20)


async def test_an_utterance_that_is_all_silence_is_heard_as_it_is(base: BaseModel) -> None:
    engine = ScriptedEngine([with_silence(0, 6, 0), with_silence(0, 6, 0)])
    codec = MutableCodec(base.codec_path)
    written = Script()
    chunks = speaker(engine, codec, base).speak(written, Voice("ada"))
    written.write("One.")
    written.flush()
    samples = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            samples += len(chunk.samples)
            if chunk.finish and len(engine.requests) == 1:
                assert samples == 6 * 2048 - JOIN
                written.write("Two.")
                written.end()
    assert samples == 12 * 2048


async def test_a_voice_may_begin_every_utterance_anew(codec: Codec, base: BaseModel) -> None:
    engine = ScriptedEngine([script(2, seed) for seed in range(7)])
    voice = Voice("ada", sampling=Sampling(context=False))
    await speaker(engine, codec, base).say(LONG, voice)
    prompts = [request.prompt for request in engine.requests]
    assert prompts[:6] == [prompt_of(base, "This is the first sentence. " * 3)] * 6


async def test_text_may_be_written_while_it_is_spoken(codec: Codec, base: BaseModel) -> None:
    engine = ScriptedEngine([script(3), script(2), script(1)])
    written = Script()
    chunks = speaker(engine, codec, base).speak(written, ADA)
    async with aclosing(chunks):
        coming = asyncio.ensure_future(anext(chunks))
        written.write("One is here. Two is ")
        await asyncio.sleep(0.01)
        assert not engine.requests
        written.write("here. And ")
        assert (await coming).tokens == 7
        while not (await anext(chunks)).finish:
            pass
        coming = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0.01)
        assert len(engine.requests) == 1
        written.flush()
        assert (await coming).tokens == 7
        written.write("so on.")
        written.end()
        rest = [chunk async for chunk in chunks]
    assert [c.finish for c in rest if c.finish] == ["stop", "stop"]
    both = prompt_of(base, "One is here. Two is here. And")
    assert engine.requests[1].prompt == both + script(3)


async def test_a_text_that_turns_out_unspeakable_is_an_error_then(
    codec: Codec, base: BaseModel
) -> None:
    written = Script()
    written.write("Hello there. <|eot_id|> is not for you.")
    written.end()
    with pytest.raises(TextError, match="control token"):
        await heard(speaker(ScriptedEngine([script(1)]), codec, base).speak(written, ADA))


async def test_what_cannot_be_said_is_passed_over_while_text_comes(
    codec: Codec, base: BaseModel
) -> None:
    engine = ScriptedEngine([])
    written = Script()
    written.write("<giggle>")
    written.end()
    assert await heard(speaker(engine, codec, base).speak(written, ADA)) == []


async def test_how_long_an_utterance_may_get_follows_from_its_text(
    codec: Codec, base: BaseModel
) -> None:
    engine = ScriptedEngine([script(1)])
    await speaker(engine, codec, base).say("Hi.", ADA)
    assert engine.requests[0].max_frames == speech.max_frames(2.5)


async def test_a_loop_is_cut_and_told(codec: Codec, base: BaseModel) -> None:
    engine = ScriptedEngine([script(3) * 40], size=5)
    chunks = await heard(speaker(engine, codec, base).speak("So on and on. " * 7, ADA))
    assert chunks[-1].finish == "loop"
    frames = sum(len(chunk.samples) for chunk in chunks) / 2048
    assert frames == sum(chunk.tokens for chunk in chunks) // 7
    assert 30 < frames < 36
    assert engine.open == 0


def with_silence(before: int, silent: int, after: int) -> list[int]:
    """Frames that `MutableCodec` makes a sound of, those it does not, and some more."""
    codes = np.random.default_rng(0).integers(1, 4096, (before + silent + after, 7))
    codes[before : before + silent, 1] = 0
    return tokens.codes_to_tokens(codes)


async def test_a_voice_that_says_no_more_and_does_not_stop_is_cut_and_told(base: BaseModel) -> None:
    engine = ScriptedEngine([with_silence(6, 100, 0)])
    codec = MutableCodec(base.codec_path)
    chunks = await heard(speaker(engine, codec, base).speak("So on. " * 15, ADA))
    assert chunks[-1].finish == "silence"
    assert 6 + 30 <= sum(chunk.tokens for chunk in chunks) // 7 <= 6 + 34
    assert engine.open == 0


async def test_the_silence_before_the_first_word_is_dropped_and_told(base: BaseModel) -> None:
    engine = ScriptedEngine([with_silence(0, 6, 6)])
    codec = MutableCodec(base.codec_path)
    chunks = await heard(speaker(engine, codec, base).speak("Hello.", ADA))
    dropped = sum(chunk.dropped for chunk in chunks)
    assert 6 * 2048 - 0.1 * 24_000 < dropped <= 6 * 2048
    assert sum(len(chunk.samples) for chunk in chunks) == 12 * 2048 - dropped
    sounding = next(chunk for chunk in chunks if len(chunk.samples))
    assert sounding.dropped == dropped


@pytest.mark.parametrize("bad", ["", "👍🎉", "Hello <|eot_id|> there", LONG + "<custom_token_3>"])
async def test_a_text_that_cannot_be_said_is_refused_before_any_generation(
    codec: Codec, base: BaseModel, bad: str
) -> None:
    engine = ScriptedEngine([script(1)])
    with pytest.raises(TextError):
        await speaker(engine, codec, base).say(bad, ADA)
    assert engine.requests == []


async def test_closing_early_closes_the_engines_generator(codec: Codec, base: BaseModel) -> None:
    engine = ScriptedEngine([script(50)])
    async with aclosing(speaker(engine, codec, base).speak("Hello.", ADA)) as chunks:
        await anext(chunks)
        assert engine.open == 1
    assert engine.open == 0
    assert len(engine.requests) == 1


async def test_an_utterance_cut_at_its_limit_says_so(codec: Codec, base: BaseModel) -> None:
    engine = ScriptedEngine([script(3)], finish="length")
    chunks = await heard(speaker(engine, codec, base).speak("Hello.", ADA))
    assert chunks[-1].finish == "length"
    assert sum(len(chunk.samples) for chunk in chunks) == 3 * 2048


async def test_an_engine_that_stops_inside_a_frame_is_an_error(
    codec: Codec, base: BaseModel
) -> None:
    engine = ScriptedEngine([script(2)[:-3]])
    with pytest.raises(TokenError, match="4 left over"):
        await speaker(engine, codec, base).say("Hello.", ADA)
    assert engine.open == 0


async def test_the_engine_is_asked_for_the_voices_name_adapter_and_sampling(
    codec: Codec, base: BaseModel, small_run: SmallRun
) -> None:
    sampling = Sampling(temperature=0.3, max_seconds=1.0)
    voice = speech.voice_of_run(small_run.dir, sampling)
    engine = ScriptedEngine([script(1), script(1)])
    talker = speaker(engine, codec, base)
    await talker.say("Hi.", voice, seed=7)
    await talker.say("Hi.", voice, max_seconds=0.5)
    first, second = engine.requests
    prompt = models.prompt_ids(base.tokenizer(), "jack", "Hi.", base.tags, base.language)
    assert first == Request(prompt, sampling, 11, voice.adapter, 7)
    assert (second.max_frames, second.seed) == (5, None)
    assert base.tokenizer().decode(first.prompt[2:-4]) == "jack: Hi."


def test_the_voice_of_a_run_carries_its_digest(small_run: SmallRun) -> None:
    stamp = small_run.dir.stamp()
    voice = speech.voice_of_run(small_run.dir, Sampling())
    assert voice.name == "jack"
    assert voice.adapter == Adapter(
        f"jack@{stamp.adapter_digest[:12]}", small_run.dir.adapter, stamp.adapter_digest
    )


def test_an_adapters_number_fits_what_vllm_takes(run_dir: RunDir) -> None:
    for digest in ("0" * 64, "f" * 64, "7fffffff" + "0" * 56, "80000000" + "0" * 56):
        assert 1 <= Adapter("x", run_dir.adapter, digest).number < 2**31


@pytest.mark.parametrize(
    ("seconds", "frames"), [(0.001, 1), (0.0853, 1), (0.0854, 1), (0.1708, 2), (1.0, 11), (20, 234)]
)
def test_seconds_become_whole_frames(seconds: float, frames: int) -> None:
    assert speech.max_frames(seconds) == frames


def test_a_request_is_for_at_least_one_frame() -> None:
    with pytest.raises(EngineError, match="at least one frame, not 0"):
        Request([1], Sampling(), 0)
