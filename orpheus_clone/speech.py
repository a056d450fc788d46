"""Text and voice to sound, as both come: the one path that eval, say and serve all run.

    Script ─▶ utterance ─▶ prompt ids ─▶ engine ─▶ tokens ─▶ StreamDecoder ─▶ Chunk, Chunk, …
                 ▲                                   │           │  ▲
                 └── its text and tokens are what ───┘       BatchDecoder: all streams, one codec
                     the next one goes on from

A text is spoken in utterances of a length that the model speaks well, one after the other and
without end. Each is asked for as the rest of a longer one, `[both texts] [the sound so far]`, so
that its pitch and pace go on; the stop id, which ended the first, is left out.

Samples out are frames x 2048 in all, less the silence that is dropped before the speech.
"""

import math
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from orpheus_clone import models, text, tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.bundle import Adapter
from orpheus_clone.codec.batch import BatchDecoder
from orpheus_clone.codec.snac import Codec
from orpheus_clone.codec.stream import StreamDecoder
from orpheus_clone.engine.base import Engine, Finish, Request
from orpheus_clone.engine.gathered import gathered
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling
from orpheus_clone.runaway import Runaway, Watch
from orpheus_clone.script import LONGEST, Script
from orpheus_clone.silence import HeadTrim

if TYPE_CHECKING:
    from tokenizers import Tokenizer


Ending = Finish | Runaway
"""Why an utterance ended: by itself, at its limit, or cut because the voice had lost its way."""

HEAD_MS = 30.0
"""Silence that is left before the first word; `prepare` teaches 50."""
PAUSE_MS = 250.0
"""Silence that is left before the first word of an utterance that does not go on from another."""
LONGEST_HEAD_MS = 1500.0
CONTEXT_FRAMES = 176
"""15 s: on from a longer sound, the next would be beyond what clips taught."""


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
    finish: Ending | None = None
    """Set on the chunk that ends an utterance."""
    dropped: int = 0
    """Samples of silence that were left out before these."""
    decoding_s: float = 0.0
    """What the codec took for these, waiting for its turn included; 0 where nothing was due."""


class Utterances(Protocol):
    """What is said, as it is to be said; `Script` is one."""

    @property
    def is_over(self) -> bool:
        """Whether no more will come."""
        ...

    async def next(self) -> str | None:
        """The next utterance, once it is to be spoken; None after the last."""
        ...


class Speaker:
    """An engine, a codec and a tokenizer that belong together."""

    def __init__(
        self, engine: Engine, codec: Codec, base: BaseModel, *, is_exact: bool = False
    ) -> None:
        """`is_exact` lets the codec always wait for its look-ahead: where nobody listens while it
        speaks, the sound does not depend on how fast the engine is."""
        self.engine = engine
        self.base = base
        self._is_exact = is_exact
        self._decoder = BatchDecoder(codec)
        self._tokenizer = base.tokenizer()

    def script(self, spoken: str) -> Script:
        """A text that is all there; TextError, before any sound is made, if it cannot be said."""
        text.clean(spoken, self.base.tags)
        return Script.of(spoken, self.base.language)

    async def speak(
        self,
        spoken: str | Utterances,
        voice: Voice,
        *,
        seed: int | None = None,
        max_seconds: float | None = None,
    ) -> AsyncGenerator[Chunk, None]:
        """Sound of `spoken`, as it comes; closing the iterator stops the engine's work at once.

        The text may still be being written; TextError where it turns out to hold what cannot be
        said.
        """
        script = self.script(spoken) if isinstance(spoken, str) else spoken
        stream = StreamDecoder(is_exact=self._is_exact)
        before: _Utterance | None = None
        while (piece := await script.next()) is not None:
            if not text.is_spoken(piece, self.base.tags):
                continue
            utterance = _Utterance(piece, before, voice.sampling.context)
            seconds = min(max_seconds or voice.sampling.max_seconds, text.longest_s(piece))
            prompt = utterance.prompt(self._tokenizer, voice.name, self.base)
            request = Request(prompt, voice.sampling, max_frames(seconds), voice.adapter, seed)
            stream.begin(utterance.trim)
            async with aclosing(self._sound(request, utterance, stream, script)) as chunks:
                async for chunk in chunks:
                    yield chunk
            before = utterance
        stream.finish()
        rest = stream.joined([])
        if len(rest):
            yield Chunk(rest, 0)

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

    async def _sound(
        self, request: Request, utterance: "_Utterance", stream: StreamDecoder, script: Utterances
    ) -> AsyncGenerator[Chunk, None]:
        watch = Watch()
        async with (
            aclosing(self.engine.generate(request)) as deltas,
            aclosing(gathered(deltas, stream.wait_s)) as events,
        ):
            async for delta in events:
                stream.push(delta.tokens)
                utterance.tokens += delta.tokens
                utterance.ending = delta.finish
                if utterance.ending is not None:
                    _end(stream, script)
                samples, decoding_s = await self._decoded(stream)
                if utterance.ending is None and (lost := watch.look(delta.tokens, samples)):
                    utterance.ending = lost
                    stream.cut()
                    _end(stream, script)
                    last, _ = await self._decoded(stream)
                    samples = np.concatenate([samples, last])
                dropped = utterance.newly_dropped()
                yield Chunk(samples, len(delta.tokens), utterance.ending, dropped, decoding_s)
                if utterance.ending is not None:
                    return

    async def _decoded(self, stream: StreamDecoder) -> tuple[Waveform, float]:
        """What is due of a stream, and the seconds that it took; 0 where nothing was."""
        due, began = stream.due(), time.perf_counter()
        samples = stream.joined(await self._decoder.decode(due))
        return samples, time.perf_counter() - began if due else 0.0


class _Utterance:
    """One that is being spoken, and what it goes on from."""

    def __init__(self, spoken: str, before: "_Utterance | None", may_go_on: bool) -> None:
        self.text = spoken
        self.tokens: list[int] = []
        self.ending: Ending | None = None
        goes_on = (
            may_go_on
            and before is not None
            and before.ending == "stop"
            and text.letters(f"{before.text} {spoken}") <= LONGEST
            and len(before.tokens) <= CONTEXT_FRAMES * tokens.FRAME
        )
        self._context = before if goes_on else None
        self.trim: HeadTrim | None = None
        if not goes_on:
            keep_ms = HEAD_MS if before is None else PAUSE_MS
            self.trim = HeadTrim(tokens.SAMPLE_RATE, keep_ms=keep_ms, limit_ms=LONGEST_HEAD_MS)
        self._dropped = 0

    def prompt(self, tokenizer: "Tokenizer", name: str, base: BaseModel) -> list[int]:
        """What the model goes on from."""
        if self._context is None:
            return models.prompt_ids(tokenizer, name, self.text, base.tags, base.language)
        both = f"{self._context.text} {self.text}"
        prompt = models.prompt_ids(tokenizer, name, both, base.tags, base.language)
        return prompt + self._context.tokens

    def newly_dropped(self) -> int:
        """Samples of silence that were dropped since the last call."""
        dropped = self.trim.dropped if self.trim else 0
        newly, self._dropped = dropped - self._dropped, dropped
        return newly


def _end(stream: StreamDecoder, script: Utterances) -> None:
    """What has come of the utterance is all of it, and perhaps of the stream."""
    if script.is_over:
        stream.finish()
    else:
        stream.pause()


def voice_of_run(run: RunDir, sampling: Sampling) -> Voice:
    """The voice that a finished run has learnt."""
    stamp = run.stamp()
    name = f"{stamp.voice}@{stamp.adapter_digest[:12]}"
    return Voice(stamp.voice, Adapter(name, run.adapter, stamp.adapter_digest), sampling)


def max_frames(seconds: float) -> int:
    """Whole frames in `seconds`, at least one."""
    return max(1, math.floor(seconds * tokens.SAMPLE_RATE / tokens.FRAME_SAMPLES))
