"""Speak a prompt set at a steady concurrency and note when things happen.

A fixed number of streams is kept busy from the first measured utterance to the last: a stream
that finds no prompt left goes on with unmeasured ones, so that no rate is flattered by an engine
that empties. One utterance is spoken before, since the first is slow and nobody hears it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np

from orpheus_clone.audio import Waveform
from orpheus_clone.speech import Ending, Speaker, Voice
from orpheus_clone.tokens import SAMPLE_RATE

Clock = Callable[[], float]
"""Seconds, monotonic."""

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


async def speak_all(
    speaker: Speaker,
    voice: Voice,
    prompts: Sequence[str],
    *,
    concurrency: int,
    max_seconds: float | None = None,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
    clock: Clock = time.perf_counter,
) -> list[Utterance]:
    """Speak every prompt once with `concurrency` streams open; in the order of the prompts."""
    await speaker.say(WARM_UP, voice, max_seconds=max_seconds)
    done: dict[int, Utterance] = {}
    waiting = iter(range(len(prompts)))
    is_finished = asyncio.Event()
    progress(0, len(prompts))

    async def stream(number: int) -> None:
        for i in waiting:
            done[i] = await _speak(speaker, voice, prompts[i], i, max_seconds, clock)
            progress(len(done), len(prompts))
        if len(done) == len(prompts):
            is_finished.set()
        while not is_finished.is_set():
            filler = prompts[number % len(prompts)]
            await _speak(speaker, voice, filler, number, max_seconds, clock)

    try:
        async with asyncio.TaskGroup() as group:
            streams = [group.create_task(stream(i)) for i in range(concurrency)]
            await is_finished.wait()
            for task in streams:
                task.cancel()
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None  # the others fell with it
    return [done[i] for i in range(len(prompts))]


async def _speak(
    speaker: Speaker, voice: Voice, text: str, seed: int, max_seconds: float | None, clock: Clock
) -> Utterance:
    began = clock()
    samples: list[Waveform] = []
    arrivals: list[Arrival] = []
    tokens, dropped, finish, first_token_s = 0, 0, None, 0.0
    async with aclosing(speaker.speak(text, voice, seed=seed, max_seconds=max_seconds)) as chunks:
        async for chunk in chunks:
            now = clock() - began
            if not tokens:
                first_token_s = now
            tokens += chunk.tokens
            dropped += chunk.dropped
            finish = chunk.finish or finish
            if len(chunk.samples):
                samples.append(chunk.samples)
                arrivals.append(Arrival(now, sum(map(len, samples))))
    return Utterance(
        text=text,
        samples=np.concatenate(samples),
        tokens=tokens,
        finish=finish,
        first_token_s=first_token_s,
        end_s=clock() - began,
        arrivals=arrivals,
        dropped=dropped,
    )
