"""first_audio: from a text to the first speech that is heard, our path against upstream's.

    ours       Speaker: the audio head, a frame decoded as soon as it is there, the silence before
               the speech dropped
    upstream   the stock head, and upstream's streaming decoder (see decode.py), which waits for 28
               tokens and plays the silence

One stream, both engines in this run, taking turns, with the sampling that is shipped. Where speech
begins is silence.py's to say, of what each listener hears.

    network    the first sound of ours through HTTP on this machine, less the same without
    prefill    until the first token
    tokens     until the first frame is whole
    codec      until it is sound
    silence    from then until speech is heard
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from orpheus_clone import models, silence
from orpheus_clone.audio import Waveform
from orpheus_clone.bench import Result
from orpheus_clone.bench.decode import UPSTREAM_FRAMES, upstream
from orpheus_clone.cluster.membership import Membership
from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.cluster.registry import NodeInfo
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine import open_engine
from orpheus_clone.engine.base import Engine, Request
from orpheus_clone.errors import NoSpeechError
from orpheus_clone.eval.run import prompt_set
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling
from orpheus_clone.script import Script
from orpheus_clone.serve.auth import Keys
from orpheus_clone.serve.node import Node
from orpheus_clone.serve.run import answering, bind
from orpheus_clone.serve.service import Service
from orpheus_clone.speech import Chunk, Speaker, Voice, max_frames
from orpheus_clone.store import Store
from orpheus_clone.tokens import FRAME, SAMPLE_RATE

PROMPTS = 10
MAX_SECONDS = 3.0

Came = tuple[int, Waveform]
"""What a path hands out: so many tokens, and samples of shape (n,), either often none."""


@dataclass(frozen=True)
class Parts:
    """Milliseconds from the text to the first speech heard, one after the other."""

    prefill: float
    tokens: float
    codec: float
    silence: float

    @property
    def first_speech(self) -> float:
        """All of them."""
        return self.prefill + self.tokens + self.codec + self.silence


def run() -> Result:
    """Key `speedup`: upstream's median time to the first speech over ours."""
    return asyncio.run(_run(models.locate("nano")))


async def _run(base: BaseModel) -> Result:
    engines = [open_engine("vllm", base)]
    from orpheus_clone.engine.vllm import VllmEngine

    try:
        engines.append(VllmEngine(base, max_adapters=4, max_rank=16))
        codec = Codec(base.codec_path)
        speaker = _Stamped(engines[0], codec, base)
        voice = Voice(base.voices[0])
        ours, theirs = list[Parts](), list[Parts]()
        for seed, spoken in enumerate(prompt_set(PROMPTS + 1)):
            parts = [
                await listen(_ours(speaker, spoken, voice, seed), FRAME),
                await listen(
                    _upstream(engines[1], codec, base, spoken, seed), UPSTREAM_FRAMES * FRAME
                ),
            ]
            if seed:  # the first is slow, and nobody hears it
                ours.append(parts[0])
                theirs.append(parts[1])
        network_ms = await _network_ms(speaker, voice)
        info = engines[0].info
    finally:
        for engine in engines:
            await engine.close()
    rows = [_row("ours", ours, network_ms), _row("upstream", theirs, network_ms)]
    medians = [float(np.median([p.first_speech for p in parts])) for parts in (theirs, ours)]
    line: dict[str, Any] = {"bench": "first_audio", "speedup": round(medians[0] / medians[1], 2)}
    for row in rows:
        line |= {f"{row['path']}_first_speech_p{q}_ms": row[f"first speech p{q}"] for q in (50, 95)}
    where = {"engine": info.engine, "hardware": info.hardware, "precision": info.precision}
    return Result(rows, line | where | {"model": base.name})


async def listen(path: AsyncGenerator[Came, None], first_tokens: int) -> Parts:
    """Play a path's sound as it comes; `first_tokens` make its first sound."""
    began = time.perf_counter()
    samples, plays_at = list[Waveform](), list[float]()
    counted, prefill_s, tokens_s, sound_s, plays_until = 0, 0.0, 0.0, 0.0, 0.0
    async with aclosing(path) as coming:
        async for count, part in coming:
            now = time.perf_counter() - began
            prefill_s = prefill_s or (now if count else 0.0)
            counted += count
            tokens_s = tokens_s or (now if counted >= first_tokens else 0.0)
            if len(part):
                sound_s = sound_s or now
                plays_at.append(max(plays_until, now))
                plays_until = plays_at[-1] + len(part) / SAMPLE_RATE
                samples.append(part)
    heard_s = _played_s(samples, plays_at)
    return Parts(
        prefill=1000 * prefill_s,
        tokens=1000 * (tokens_s - prefill_s),
        codec=1000 * (min(sound_s, heard_s) - tokens_s),
        silence=1000 * max(0.0, heard_s - sound_s),
    )


def _played_s(samples: Sequence[Waveform], plays_at: Sequence[float]) -> float:
    """When the first speech is played, of parts that are played at these times."""
    onset_s = 0.0
    with contextlib.suppress(NoSpeechError):
        span = silence.speech_span(np.concatenate(samples), SAMPLE_RATE)
        onset_s = span.onset_ms / 1000
    for part, at in zip(samples, plays_at, strict=True):
        if onset_s < len(part) / SAMPLE_RATE:
            return at + onset_s
        onset_s -= len(part) / SAMPLE_RATE
    return plays_at[-1]


async def _ours(speaker: Speaker, line: str, voice: Voice, seed: int) -> AsyncGenerator[Came, None]:
    async with aclosing(speaker.speak(line, voice, seed=seed, max_seconds=MAX_SECONDS)) as chunks:
        async for chunk in chunks:
            yield chunk.tokens, chunk.samples


async def _upstream(
    engine: Engine, codec: Codec, base: BaseModel, line: str, seed: int
) -> AsyncGenerator[Came, None]:
    prompt = models.prompt_ids(base.tokenizer(), base.voices[0], line, base.tags)
    request = Request(prompt, Sampling(), max_frames(MAX_SECONDS), seed=seed)
    ids: list[int] = []
    async with aclosing(engine.generate(request)) as deltas:
        async for delta in deltas:
            for token in delta.tokens:
                ids.append(token)
                yield 1, np.zeros(0, np.float32)
                if len(ids) % FRAME == 0 and len(ids) >= UPSTREAM_FRAMES * FRAME:
                    yield 0, upstream(ids[-UPSTREAM_FRAMES * FRAME :], codec.decode)


class _Stamped(Speaker):
    """A speaker that says how long it took to its first sound."""

    first_s = 0.0

    async def speak(
        self,
        spoken: str | Script,
        voice: Voice,
        *,
        seed: int | None = None,
        max_seconds: float | None = None,
    ) -> AsyncGenerator[Chunk, None]:
        """As `Speaker.speak`."""
        began, self.first_s = time.perf_counter(), 0.0
        spoken_chunks = super().speak(spoken, voice, seed=seed, max_seconds=max_seconds)
        async with aclosing(spoken_chunks) as chunks:
            async for chunk in chunks:
                if len(chunk.samples):
                    self.first_s = self.first_s or time.perf_counter() - began
                yield chunk


async def _network_ms(speaker: _Stamped, voice: Voice) -> float:
    """What HTTP on this machine adds to the first sound, in the median."""
    added = []
    async with _node(speaker) as client:
        for line in prompt_set(PROMPTS):
            body = {"model": "nano", "input": line, "voice": voice.name, "response_format": "pcm"}
            began = time.perf_counter()
            async with client.stream("POST", "/v1/audio/speech", json=body) as response:
                response.raise_for_status()
                async for _ in response.aiter_bytes():
                    added.append(time.perf_counter() - began - speaker.first_s)
                    break
    return 1000 * float(np.median(added))


@contextlib.asynccontextmanager
async def _node(speaker: Speaker) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A node on a free port of this machine, and its client."""
    with contextlib.closing(bind("127.0.0.1", 0)) as listening, tempfile.TemporaryDirectory() as at:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        membership = Membership(MemoryRegistry(), NodeInfo(url, url, speaker.base.digest))
        await membership.join()
        service = Service(Node(speaker, Store(Path(at)), 1), membership, Keys([]))
        async with (
            answering(service, listening),
            httpx.AsyncClient(base_url=url, timeout=60) as client,
        ):
            yield client


def _row(path: str, parts: Sequence[Parts], network_ms: float) -> dict[str, Any]:
    medians = {
        name: round(float(np.median([getattr(p, name) for p in parts])), 1)
        for name in ("prefill", "tokens", "codec", "silence")
    }
    speech = np.percentile([p.first_speech for p in parts], (50, 95)).round(1).tolist()
    first = {"first speech p50": speech[0], "first speech p95": speech[1]}
    return {"path": path, **first, "network": round(network_ms, 1), **medians}
