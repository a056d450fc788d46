"""first_audio: from a text to the first speech that is heard, our path against upstream's.

    ours       Speaker: the audio head, a frame decoded as soon as it is there, the silence before
               the speech dropped
    upstream   the stock head, and upstream's streaming decoder (see decode.py), which waits for 28
               tokens and plays the silence

One stream, both engines in this run, taking turns, with the sampling that is shipped. Where speech
begins is silence.py's to say, of what each listener hears.

    network    what HTTP on this machine adds to our first sound
    prefill    until the engine gives the first token
    tokens     until it has given those of the first sound: 7, upstream 28
    codec      until that is decoded
    silence    from then until speech is heard
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx
import numpy as np

from orpheus_clone import models, silence
from orpheus_clone.audio import Waveform
from orpheus_clone.bench import Result
from orpheus_clone.bench.decode import UPSTREAM_FRAMES, upstream
from orpheus_clone.cluster.membership import Membership
from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.cluster.state import NodeState, Pool
from orpheus_clone.codec.snac import Codec
from orpheus_clone.codec.window import Window
from orpheus_clone.engine import open_engine
from orpheus_clone.engine.base import Delta, Engine, Request
from orpheus_clone.errors import NoSpeechError
from orpheus_clone.eval.prompts import prompt_set
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling
from orpheus_clone.serve.auth import Keys
from orpheus_clone.serve.node import Node
from orpheus_clone.serve.run import answering, bind
from orpheus_clone.serve.service import Service
from orpheus_clone.speech import Chunk, Speaker, Utterances, Voice, max_frames
from orpheus_clone.store import open_store
from orpheus_clone.tokens import FRAME, SAMPLE_RATE, Codes

PROMPTS = 10
MAX_SECONDS = 3.0


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


@dataclass
class Stamps:
    """Seconds from the text to what happened first; 0 is not yet."""

    wanted: int
    """Tokens of the first sound."""
    began: float = field(default_factory=time.perf_counter)
    tokens: int = 0
    first_token: float = 0.0
    first_frame: float = 0.0
    first_decoded: float = 0.0

    def now(self) -> float:
        """Seconds from the text."""
        return time.perf_counter() - self.began

    def token(self, count: int) -> None:
        """The engine has given so many more."""
        self.tokens += count
        self.first_token = self.first_token or self.now()
        if self.tokens >= self.wanted:
            self.first_frame = self.first_frame or self.now()


class StampedEngine:
    """An engine that says when its tokens came."""

    def __init__(self, engine: Engine) -> None:
        self.inner, self.info = engine, engine.info
        self.load, self.unload = engine.load, engine.unload
        self.is_alive, self.close = engine.is_alive, engine.close
        self.stamps = Stamps(0)

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        """As the engine's."""
        async with aclosing(self.inner.generate(request)) as deltas:
            async for delta in deltas:
                self.stamps.token(len(delta.tokens))
                yield delta


class StampedCodec(Codec):
    """A codec that says when it was first done."""

    stamps = Stamps(0)

    def decode(self, codes: Codes) -> Waveform:
        """As the codec's."""
        samples = super().decode(codes)
        self.stamps.first_decoded = self.stamps.first_decoded or self.stamps.now()
        return samples

    def decode_windows(self, windows: list[Window]) -> list[Waveform]:
        """As the codec's."""
        samples = super().decode_windows(windows)
        self.stamps.first_decoded = self.stamps.first_decoded or self.stamps.now()
        return samples


async def _run(base: BaseModel) -> Result:
    engines = [StampedEngine(open_engine("vllm", base))]
    from orpheus_clone.engine.vllm import VllmEngine

    try:
        engines.append(StampedEngine(VllmEngine(base, max_adapters=4, max_rank=16)))
        short, stock = engines
        codec = StampedCodec(base.codec_path)
        speaker = _Stamped(short, codec, base)
        voice = Voice(base.voices[0])
        ours, theirs = list[Parts](), list[Parts]()
        for seed, said in enumerate(prompt_set(PROMPTS + 1)):
            short.stamps = codec.stamps = Stamps(FRAME)
            one = await listen(_ours(speaker, said, voice, seed), codec.stamps)
            stock.stamps = codec.stamps = Stamps(UPSTREAM_FRAMES * FRAME)
            other = await listen(_upstream(stock, codec, base, said, seed), codec.stamps)
            if seed:  # the first is slow, and nobody hears it
                ours.append(one)
                theirs.append(other)
        network_ms = await _network_ms(speaker, voice)
    finally:
        for engine in engines:
            await engine.close()
    rows = [_row("ours", ours, network_ms), _row("upstream", theirs, network_ms)]
    medians = [float(np.median([p.first_speech for p in parts])) for parts in (theirs, ours)]
    line: dict[str, Any] = {"bench": "first_audio", "speedup": round(medians[0] / medians[1], 2)}
    for row in rows:
        line |= {f"{row['path']}_first_speech_p{q}_ms": row[f"first speech p{q}"] for q in (50, 95)}
    return Result(rows, line | asdict(short.info) | {"model": base.name})


async def listen(path: AsyncGenerator[Waveform, None], stamps: Stamps) -> Parts:
    """Play a path's sound as it comes."""
    samples, plays_at, plays_until = list[Waveform](), list[float](), 0.0
    async with aclosing(path) as coming:
        async for part in coming:
            if len(part):
                plays_at.append(max(plays_until, stamps.now()))
                plays_until = plays_at[-1] + len(part) / SAMPLE_RATE
                samples.append(part)
    heard = _played_s(samples, plays_at) if samples else stamps.now()
    frame = stamps.first_frame or heard
    decoded = stamps.first_decoded or frame
    return Parts(
        prefill=1000 * stamps.first_token,
        tokens=1000 * (frame - stamps.first_token),
        codec=1000 * (decoded - frame),
        silence=1000 * (heard - decoded),
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


async def _ours(
    speaker: Speaker, line: str, voice: Voice, seed: int
) -> AsyncGenerator[Waveform, None]:
    async with aclosing(speaker.speak(line, voice, seed=seed, max_seconds=MAX_SECONDS)) as chunks:
        async for chunk in chunks:
            yield chunk.samples


async def _upstream(
    engine: StampedEngine, codec: Codec, base: BaseModel, line: str, seed: int
) -> AsyncGenerator[Waveform, None]:
    prompt = models.prompt_ids(base.tokenizer(), base.voices[0], line, base.tags, base.language)
    request = Request(prompt, Sampling(), max_frames(MAX_SECONDS), seed=seed)
    ids: list[int] = []
    async with aclosing(engine.generate(request)) as deltas:
        async for delta in deltas:
            for token in delta.tokens:
                ids.append(token)
                if len(ids) % FRAME == 0 and len(ids) >= UPSTREAM_FRAMES * FRAME:
                    yield upstream(ids[-UPSTREAM_FRAMES * FRAME :], codec.decode)


class _Stamped(Speaker):
    """A speaker that says how long it took to its first sound."""

    first_s = 0.0

    async def speak(
        self,
        spoken: str | Utterances,
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
        pool = Pool(speaker.base.digest, speaker.base.language)
        membership = Membership(MemoryRegistry(), NodeState(url, url, pool))
        await membership.join()
        await membership.become_ready()
        service = Service(Node(speaker, open_store(at), 1), membership, Keys([]))
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
