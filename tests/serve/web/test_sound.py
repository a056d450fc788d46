"""What the page makes of bytes and samples, held against the same in Python."""

from typing import Any

import numpy as np
import pytest
from playwright.async_api import Page

from orpheus_clone import silence
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import NoSpeechError
from orpheus_clone.tokens import SAMPLE_RATE
from tests.serve.web.conftest import Look, Node, Reader

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEAD = 480
"""Samples: player.js begins 20 ms after it is told to."""


def signals(clip: Waveform) -> dict[str, Waveform]:
    """Speech as it may begin, and what is none."""
    rng = np.random.default_rng(0)
    click = clip.copy()
    click[2000:2100] = 0.9
    muted = clip.copy()
    muted[6000:9000] = 0
    tone = rng.normal(0, 0.0005, 2 * SAMPLE_RATE)
    loud = rng.normal(0, 0.2, 2 * SAMPLE_RATE)
    fading = {
        f"fading in within {ms} ms": (tone + loud * _fade(ms)).astype(np.float32)
        for ms in (200, 800)
    }
    return {
        **fading,
        "a clip": clip,
        "its beginning": clip[: SAMPLE_RATE // 2],
        "speech at once": clip[20_000:60_000],
        "a click before it": click,
        "a muted stretch before it": muted,
        "an offset": clip + np.float32(0.1),
        "noise throughout": rng.normal(0, 0.1, SAMPLE_RATE).astype(np.float32),
        "room tone": rng.normal(0, 0.0005, SAMPLE_RATE).astype(np.float32),
        "nothing": np.zeros(SAMPLE_RATE, np.float32),
        "no whole window": clip[:239],
    }


def _fade(ms: int) -> Waveform:
    """Nothing for half a second, then so long from -60 dB to full, evenly in dB."""
    seconds = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE - 0.5
    db = np.clip(60 * (seconds * 1000 / ms - 1), -60, 0)
    return np.where(seconds < 0, 0, 10 ** (db / 20)).astype(np.float32)


def head_ms(samples: Waveform) -> float | None:
    try:
        return silence.speech_span(samples, SAMPLE_RATE).head_ms
    except NoSpeechError:
        return None


async def test_speech_begins_where_silence_py_says(
    look: Look, serving: Node, script: list[int], clip: Waveform
) -> None:
    async with serving(Reader(script)) as address, look(address) as page:
        cases = signals(clip)
        measured = {name: await heads(page, samples) for name, samples in cases.items()}
    expected = {name: head_ms(samples) for name, samples in cases.items()}
    assert expected["a clip"] and expected["room tone"] is None
    assert measured == expected


async def heads(page: Page, samples: Waveform) -> Any:
    code = """async (samples) => {
      const { headMs } = await import("/page/sound.js");
      return headMs(Float32Array.from(samples));
    }"""
    return await page.evaluate(code, samples.tolist())


async def test_bytes_become_the_same_samples_however_they_are_parcelled(
    look: Look, serving: Node, script: list[int]
) -> None:
    samples = np.array([0, 1, -1, 32767, -32768, 12345, -2, 256], "<i2")
    code = """async ([bytes, cuts]) => {
      const { Pcm, joined, wav } = await import("/page/sound.js");
      const pcm = new Pcm();
      const chunks = cuts.map(([from, to]) => pcm.push(Uint8Array.from(bytes.slice(from, to))));
      const file = new Uint8Array(await wav(chunks).arrayBuffer());
      return [[...joined(chunks)], [...file.slice(44)]];
    }"""
    async with serving(Reader(script)) as address, look(address) as page:
        for cut in ([(0, 16)], [(0, 1), (1, 2), (2, 7), (7, 7), (7, 16)]):
            got, kept = await page.evaluate(code, [list(samples.tobytes()), cut])
            assert got == (samples / 32768).tolist()
            assert bytes(kept) == samples.tobytes()


async def test_chunks_are_played_sample_after_sample_and_a_late_one_after_a_gap(
    look: Look, serving: Node, script: list[int]
) -> None:
    rng = np.random.default_rng(0)
    chunks = [rng.uniform(-1, 1, n).astype(np.float32) for n in (2047, 1, 333, 4096)]
    code = """async (chunks) => {
      const { Player } = await import("/page/player.js");
      const context = new OfflineAudioContext(1, 24000, 24000);
      const begun = [];
      const began = (inMs) => begun.push([context.currentTime, inMs]);
      const player = new Player(context, began, () => {});
      const [late, ...prompt] = chunks.map((chunk) => Float32Array.from(chunk)).reverse();
      for (const chunk of prompt.reverse()) player.push(chunk);
      const drynesses = [player.isDry];
      context.suspend(0.5).then(() => {
        drynesses.push(player.isDry);
        player.push(late);
        return context.resume();
      });
      const played = await context.startRendering();
      return [begun, drynesses, [...played.getChannelData(0)]];
    }"""
    async with serving(Reader(script)) as address, look(address) as page:
        begun, drynesses, played = await page.evaluate(code, [c.tolist() for c in chunks])
    prompt = np.concatenate(chunks[:3])
    late = round((begun[1][0] + begun[1][1] / 1000) * SAMPLE_RATE)
    expected = np.zeros(SAMPLE_RATE, np.float32)
    expected[LEAD : LEAD + len(prompt)] = prompt
    expected[late : late + len(chunks[3])] = chunks[3]
    assert len(begun) == 2 and begun[0] == [0, 20]
    assert drynesses == [False, True]
    assert late >= SAMPLE_RATE // 2 + LEAD
    assert np.array_equal(np.array(played, np.float32), expected)


async def test_times_of_an_utterance_by_hand(look: Look, serving: Node, script: list[int]) -> None:
    """200 ms of sound from 150 ms on, dry for 50 ms, then 100 ms more; speech after 60 ms."""
    code = """async (speech) => {
      const { Timing } = await import("/page/timing.js");
      const timing = new Timing();
      const samples = new Float32Array(4800).map((_, i) => (i < 1440 ? 0 : speech[i - 1440]));
      timing.began(150);
      timing.received(samples, 120);
      const early = [timing.realTimeFactor, timing.heardAt(10)];
      timing.began(400);
      timing.received(samples.slice(2400), 390);
      timing.finish(600);
      const { firstByteMs, arrivals, soundMs, headMs, firstSoundMs, endMs, gaps } = timing;
      return [early, firstByteMs, arrivals, soundMs, headMs, firstSoundMs, endMs, gaps,
              timing.realTimeFactor, timing.heardAt(199), timing.heardAt(201), timing.peaks.length];
    }"""
    tone = (np.sin(np.arange(4800) / 5) * 0.3).tolist()
    async with serving(Reader(script)) as address, look(address) as page:
        early, *rest = await page.evaluate(code, tone)
    assert early == [None, 160]
    assert rest[:3] == [120, [120, 390], 300]
    # A window that holds half of the tone is loud enough: the definition errs to the early side.
    assert rest[3] in (55, 60, 65)
    assert rest[4] == 150 + rest[3]
    assert rest[5:] == [500, [{"fromMs": 350, "toMs": 400}], 2, 349, 401, 30]
