"""Streams that join, leave and are cancelled at random, for as long as $SOAK_SECONDS says."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np
import psutil
import pytest

from orpheus_clone import tokens
from orpheus_clone.bundle import Adapter
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import Engine
from orpheus_clone.eval.prompts import prompt_set
from orpheus_clone.models import BaseModel
from orpheus_clone.script import Script
from orpheus_clone.speech import Chunk, Speaker, Voice

pytest.importorskip("vllm")
pytestmark = [pytest.mark.vllm, pytest.mark.asyncio(loop_scope="session")]

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
MOST_STREAMS = 8
LEAK_MB = 40.0
"""What memory may differ by between the second quarter of the time and the last."""


@dataclass
class Seen:
    """What became of the streams, and how much memory there was, by the second."""

    ended: Counter[str] = field(default_factory=Counter)
    memory_mb: list[tuple[float, float]] = field(default_factory=list)


@pytest.mark.timeout(max(300, 2 * SECONDS))
async def test_streams_come_and_go_and_nothing_is_lost_or_left(
    vllm_engine: Engine, codec: Codec, base: BaseModel, adapters: tuple[Adapter, Adapter]
) -> None:
    from orpheus_clone.engine.vllm import VllmEngine

    speaker = Speaker(vllm_engine, codec, base)
    voices = [Voice(base.voices[0]), *(Voice("jack", adapter) for adapter in adapters)]
    seen, until = Seen(), time.monotonic() + SECONDS
    async with asyncio.TaskGroup() as group:
        for number in range(MOST_STREAMS):
            group.create_task(_customer(speaker, voices, random.Random(number), until, seen))
        group.create_task(_watch_memory(until, seen))
    assert set(seen.ended) == {"whole", "left"}
    assert all(count > 2 for count in seen.ended.values())
    assert not speaker._decoder._jobs
    assert isinstance(vllm_engine, VllmEngine)
    assert not vllm_engine._llm.output_processor.has_unfinished_requests()
    alone = await speaker.say("Hello.", voices[0], seed=1, max_seconds=1.0)
    again = await speaker.say("Hello.", voices[0], seed=1, max_seconds=1.0)
    assert len(alone) == len(again) > 0
    if SECONDS >= 60:
        assert _between(seen, 0.75, 1.0) - _between(seen, 0.25, 0.5) < LEAK_MB


async def _customer(
    speaker: Speaker, voices: list[Voice], luck: random.Random, until: float, seen: Seen
) -> None:
    """One stream after the other; some are heard to their end, some are not."""
    while time.monotonic() < until:
        voice, seconds = luck.choice(voices), luck.choice([luck.uniform(0.1, 2.0), 4.0])
        patience = luck.choice([None, luck.randrange(1, 60)])
        text = luck.choice(prompt_set(20))
        writing = None
        if luck.random() < 0.3:
            written = Script()
            writing = asyncio.create_task(_write(text, written, luck))
            chunks = speaker.speak(written, voice, max_seconds=seconds)
        else:
            chunks = speaker.speak(text, voice, max_seconds=seconds)
        seen.ended[await _hear(chunks, patience)] += 1
        if writing is not None:
            await writing
        await asyncio.sleep(luck.uniform(0, 0.5))


async def _write(text: str, script: Script, luck: random.Random) -> None:
    """As a language model writes: a few letters at a time, and a flush now and then."""
    for at in range(0, len(text), 5):
        script.write(text[at : at + 5])
        if luck.random() < 0.05:
            script.flush()
        await asyncio.sleep(0.01)
    script.end()


async def _hear(chunks: AsyncGenerator[Chunk, None], patience: int | None) -> str:
    samples = frames = counted = dropped = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            samples, counted = samples + len(chunk.samples), counted + chunk.tokens
            dropped += chunk.dropped
            if chunk.finish is not None:
                # Only an utterance that was cut may end inside a frame, which is not heard.
                assert counted % tokens.FRAME == 0 or chunk.finish in ("loop", "silence")
                frames, counted = frames + counted // tokens.FRAME, 0
            assert np.isfinite(chunk.samples).all()
            if patience is not None and counted >= patience:
                return "left"
    assert counted == 0
    assert samples + dropped == frames * tokens.FRAME_SAMPLES
    return "whole"


async def _watch_memory(until: float, seen: Seen) -> None:
    here = psutil.Process()
    began = time.monotonic()
    while (now := time.monotonic()) < until:
        family = [here, *here.children(recursive=True)]
        total = sum(one.memory_info().rss for one in family) / 2**20
        seen.memory_mb.append(((now - began) / SECONDS, total))
        await asyncio.sleep(1)


def _between(seen: Seen, first: float, last: float) -> float:
    return float(np.median([mb for at, mb in seen.memory_mb if first <= at <= last]))
