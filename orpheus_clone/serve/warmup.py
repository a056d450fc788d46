"""How many streams a node speaks in real time, measured before it takes anybody in.

    1 stream, 2, 4, 8, … ─▶ the rate of each ─▶ Rates; no further once that is not ENOUGH

A machine that is too slow for one is found out in a second; 64 streams take some seconds.
"""

import asyncio
import statistics
from collections.abc import Callable
from contextlib import aclosing

from orpheus_clone.serve.admission import Admission
from orpheus_clone.serve.rates import ENOUGH, Meter
from orpheus_clone.speech import Speaker, Voice

TEXT = "Hello, this is how fast I speak."
SECONDS = 1.0
"""Of sound, at most."""


async def measure(speaker: Speaker, admission: Admission) -> None:
    """Tell `admission` what this machine can do, where it wants to know."""
    promise, streams = admission.promise, 1
    while not promise.admits_all and streams <= (promise.max_streams or 1):
        spoken = (_rate(speaker, streams, admission.clock) for _ in range(streams))
        rates = await asyncio.gather(*spoken)
        known = [rate for rate in rates if rate is not None]
        if not known:
            return
        rate = statistics.median(known)
        admission.rates.begin_with(streams, rate)
        if rate < ENOUGH:
            return
        streams *= 2


async def _rate(speaker: Speaker, streams: int, clock: Callable[[], float]) -> float | None:
    """Tokens a second of one of so many streams; None if it says too little to tell."""
    found: list[float] = []
    meter = Meter(lambda: streams, lambda _, rate: found.append(rate), clock)
    spoken = speaker.speak(TEXT, Voice(speaker.base.voices[0]), max_seconds=SECONDS)
    async with aclosing(spoken) as chunks:
        async for chunk in chunks:
            meter.came(chunk.tokens, is_end=chunk.finish is not None)
            if found:
                break
    return found[0] if found else None
