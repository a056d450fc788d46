"""Speak prompts at a steady concurrency and note when things happen.

A fixed number of streams is kept busy from the first measured utterance to the last: a stream
that finds no prompt left goes on with unmeasured ones, so that no rate is flattered by an engine
that empties. One utterance of each voice is spoken before, since the first is slow and nobody
hears it.

What a listener waits for, one part after the other:

    request ─ prefill ─▶ first token ─ tokens ─▶ a frame ─ codec ─▶ sound ─ silence ─▶ speech
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np

from orpheus_clone.audio import Waveform
from orpheus_clone.player import Player
from orpheus_clone.speech import Chunk, Ending, Speaker, Voice
from orpheus_clone.tokens import SAMPLE_RATE

Clock = Callable[[], float]
"""Seconds, monotonic."""
Progress = Callable[[int, int], None]
"""Told how much is done, of how much."""

WARM_UP = "Hello, this is a short warm-up."


@dataclass(frozen=True)
class Arrival:
    """When samples of an utterance arrived: seconds after the request, and how many by then."""

    seconds: float
    samples: int


@dataclass(frozen=True)
class Utterance:
    """One measured utterance."""

    text: str
    samples: Waveform
    tokens: int
    finish: Ending | None
    first_token_s: float
    end_s: float
    arrivals: list[Arrival] = field(default_factory=list)
    dropped: int = 0
    """Samples of silence that were left out before the speech."""
    decoded_s: float = 0.0
    """When the first frame was sound."""
    decoding_s: float = 0.0
    """What the codec took for it."""

    @property
    def rate(self) -> float:
        """Tokens a second of this stream, after its first."""
        return (self.tokens - 1) / max(self.end_s - self.first_token_s, 1e-9)

    @property
    def dropped_ms(self) -> float:
        """Silence that the voice has and nobody hears."""
        return 1000 * self.dropped / SAMPLE_RATE

    @property
    def first_audio_ms(self) -> float:
        """From request to the first samples."""
        return 1000 * self.arrivals[0].seconds

    def heard_at_ms(self, position_ms: float) -> float:
        """When a player that starts at the first samples plays `position_ms` of the utterance."""
        needed = position_ms * SAMPLE_RATE / 1000
        arrived = next((a.seconds for a in self.arrivals if a.samples >= needed), self.end_s)
        return max(1000 * arrived, self.first_audio_ms + position_ms)

    def played(self) -> Player:
        """A listener who began with the first samples."""
        player, before = Player(), 0
        for arrival in self.arrivals:
            player.now = arrival.seconds
            player.take(self.samples[before : arrival.samples])
            before = arrival.samples
        return player


@dataclass(frozen=True)
class Waited:
    """Milliseconds before the first speech, one part after the other; see the module docstring."""

    prefill: float
    tokens: float
    codec: float
    silence: float
    """From the first sound to the first speech; 0 where nobody knows when that is."""

    @classmethod
    def of(cls, utterance: Utterance, speech_ms: float | None) -> "Waited":
        """The parts of an utterance whose speech was heard at `speech_ms`."""
        decoded_ms, codec_ms = 1000 * utterance.decoded_s, 1000 * utterance.decoding_s
        prefill_ms = 1000 * utterance.first_token_s
        return cls(
            prefill=prefill_ms,
            tokens=max(0.0, decoded_ms - codec_ms - prefill_ms),
            codec=codec_ms,
            silence=0.0 if speech_ms is None else max(0.0, speech_ms - decoded_ms),
        )


async def speak_all(
    speaker: Speaker,
    voices: Sequence[Voice],
    prompts: Sequence[str],
    *,
    concurrency: int,
    max_seconds: float | None = None,
    is_warm: bool = False,
    kept: Mapping[int, Utterance] | None = None,
    keep: Callable[[int, Utterance], None] = lambda _i, _utterance: None,
    progress: Progress = lambda _done, _of: None,
    clock: Clock = time.perf_counter,
) -> list[Utterance]:
    """Speak every prompt once with `concurrency` streams open; in the order of the prompts.

    Stream i speaks in voice i, and again from the first; `is_warm` says that each has spoken before
    and needs no warm-up. `kept` are utterances of an evaluation that was interrupted, by their
    place; `keep` is given each new one, in another thread, and what it raises ends it all.
    """
    done = dict(kept or {})
    progress(len(done), len(prompts))
    waiting = iter([i for i in range(len(prompts)) if i not in done])
    is_finished = asyncio.Event()
    keeping: list[asyncio.Task[None]] = []

    async def stream(number: int) -> None:
        voice = voices[number % len(voices)]
        for i in waiting:
            for task in filter(asyncio.Task.done, keeping):
                task.result()  # a full disk is noticed now, not when all is spoken
            spoken = await _speak(speaker, voice, prompts[i], i, max_seconds, clock)
            # Not waited for: a stream that writes a file is not one that loads the engine.
            keeping.append(asyncio.create_task(asyncio.to_thread(keep, i, spoken)))
            done[i] = spoken
            progress(len(done), len(prompts))
        if len(done) == len(prompts):
            is_finished.set()
        while not is_finished.is_set():
            filler = prompts[number % len(prompts)]
            await _speak(speaker, voice, filler, number, max_seconds, clock)

    if len(done) < len(prompts):
        for voice in voices[: 0 if is_warm else concurrency]:
            await speaker.say(WARM_UP, voice, max_seconds=max_seconds)
        try:
            await _until(is_finished, [stream(i) for i in range(concurrency)])
        finally:
            await asyncio.gather(*keeping)
    return [done[i] for i in range(len(prompts))]


async def _until(
    is_finished: asyncio.Event, streams: Sequence[Coroutine[None, None, None]]
) -> None:
    """Run the streams until it is set; an error of one is raised, and the others end with it."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(stream) for stream in streams]
            await is_finished.wait()
            for task in tasks:
                task.cancel()
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None  # the others fell with it


async def _speak(
    speaker: Speaker, voice: Voice, text: str, seed: int, max_seconds: float | None, clock: Clock
) -> Utterance:
    capture = _Capture(clock, clock())
    async with aclosing(speaker.speak(text, voice, seed=seed, max_seconds=max_seconds)) as chunks:
        async for chunk in chunks:
            capture.take(chunk)
    return capture.utterance(text)


@dataclass
class _Capture:
    """An utterance as it comes."""

    clock: Clock
    began: float
    samples: list[Waveform] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    tokens: int = 0
    dropped: int = 0
    finish: Ending | None = None
    first_token_s: float = 0.0
    decoded_s: float = 0.0
    decoding_s: float = 0.0

    def take(self, chunk: Chunk) -> None:
        """What has come now."""
        now = self.clock() - self.began
        if not self.tokens:
            # With a whole frame in the first chunk, the codec has taken its time already.
            self.first_token_s = now - chunk.decoding_s
        if chunk.decoding_s and not self.decoded_s:
            self.decoded_s, self.decoding_s = now, chunk.decoding_s
        self.tokens += chunk.tokens
        self.dropped += chunk.dropped
        if self.finish in (None, "stop"):  # of several, the first that went wrong
            self.finish = chunk.finish or self.finish
        if len(chunk.samples):
            self.samples.append(chunk.samples)
            self.arrivals.append(Arrival(now, sum(map(len, self.samples))))

    def utterance(self, text: str) -> Utterance:
        """All of it."""
        return Utterance(
            text=text,
            samples=np.concatenate(self.samples),
            tokens=self.tokens,
            finish=self.finish,
            first_token_s=self.first_token_s,
            end_s=self.clock() - self.began,
            arrivals=self.arrivals,
            dropped=self.dropped,
            decoded_s=self.decoded_s,
            decoding_s=self.decoding_s,
        )
