"""Text and voice to sound, as tokens come: the one path that eval, say and serve all run.

    text ─▶ utterances ─▶ prompt ids ─▶ engine ─▶ tokens ─▶ StreamDecoder ─▶ Chunk, Chunk, …
                                                                │  ▲
                                                            BatchDecoder: all streams, one codec

A text longer than the model speaks well in one go is cut into utterances, spoken one after the
other. Samples out are frames x 2048 for every utterance, short ones included.
"""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np

from orpheus_clone import models, text, tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.bundle import Adapter
from orpheus_clone.codec.batch import BatchDecoder
from orpheus_clone.codec.snac import Codec
from orpheus_clone.codec.stream import StreamDecoder
from orpheus_clone.engine.base import Delta, Engine, Finish, Request
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling


@dataclass(frozen=True)
class Voice:
    """Who speaks: the name in the prompt, and the adapter (none for a stock voice)."""

    name: str
    adapter: Adapter | None = None
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True)
class Chunk:
    """What became ready: samples of shape (n,), often none, and how many tokens came in."""

    samples: Waveform
    tokens: int
    finish: Finish | None = None
    """Set on the last chunk of each utterance."""


class Speaker:
    """An engine, a codec and a tokenizer that belong together."""

    def __init__(self, engine: Engine, codec: Codec, base: BaseModel) -> None:
        self.engine = engine
        self.base = base
        self._decoder = BatchDecoder(codec)
        self._tokenizer = base.tokenizer()

    def plan(self, spoken: str, voice: Voice) -> list[list[int]]:
        """The prompts that `spoken` becomes; raises TextError before any sound is made."""
        cleaned = text.clean(spoken, self.base.tags)
        return [
            models.prompt_ids(self._tokenizer, voice.name, piece, self.base.tags)
            for piece in text.utterances(cleaned)
        ]

    async def speak(
        self,
        spoken: str,
        voice: Voice,
        *,
        seed: int | None = None,
        max_seconds: float | None = None,
    ) -> AsyncGenerator[Chunk, None]:
        """Sound of `spoken`, as it comes; closing the iterator stops the engine's work at once."""
        frames = max_frames(max_seconds or voice.sampling.max_seconds)
        for prompt in self.plan(spoken, voice):
            request = Request(prompt, voice.sampling, frames, voice.adapter, seed)
            async with aclosing(self._utterance(request)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def say(
        self,
        spoken: str,
        voice: Voice,
        *,
        seed: int | None = None,
        max_seconds: float | None = None,
    ) -> Waveform:
        """All of `spoken` at once, shape (samples,)."""
        async with aclosing(
            self.speak(spoken, voice, seed=seed, max_seconds=max_seconds)
        ) as chunks:
            return np.concatenate([chunk.samples async for chunk in chunks])

    async def _utterance(self, request: Request) -> AsyncGenerator[Chunk, None]:
        stream = StreamDecoder()
        async with (
            aclosing(self.engine.generate(request)) as deltas,
            aclosing(_with_wakes(deltas, stream)) as events,
        ):
            async for delta in events:
                stream.push(delta.tokens)
                if delta.finish is not None:
                    stream.finish()
                samples = stream.joined(await self._decoder.decode(stream.due()))
                yield Chunk(samples, len(delta.tokens), delta.finish)


async def _with_wakes(
    deltas: AsyncGenerator[Delta, None], stream: StreamDecoder
) -> AsyncGenerator[Delta, None]:
    """The deltas, and an empty one whenever `stream` has samples due before the next comes."""
    coming = asyncio.ensure_future(anext(deltas))
    try:
        while True:
            done, _ = await asyncio.wait([coming], timeout=stream.wait_s())
            if not done:
                yield Delta([])
                continue
            delta = coming.result()
            if delta.finish is not None:
                yield delta
                return
            coming = asyncio.ensure_future(anext(deltas))
            yield delta
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


def voice_of_run(run: RunDir, sampling: Sampling) -> Voice:
    """The voice that a finished run has learnt."""
    stamp = run.stamp()
    name = f"{stamp.voice}@{stamp.adapter_digest[:12]}"
    return Voice(stamp.voice, Adapter(name, run.adapter, stamp.adapter_digest), sampling)


def max_frames(seconds: float) -> int:
    """Whole frames in `seconds`, at least one."""
    return max(1, math.floor(seconds * tokens.SAMPLE_RATE / tokens.FRAME_SAMPLES))
