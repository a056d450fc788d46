"""How many streams a machine speaks in real time: one concurrency after the other, until it breaks.

    streams   1    2    4    8   10   16   24
    tok/s   180  170  160  140  120   95   78      82.03 is real time
            ────────────────────────────── ╳       nothing is tried beyond

Real time is broken where one stream in twenty is slower than sound is played, or where more than
one listener in a hundred runs out of sound. The prompt set itself was spoken at one concurrency,
which is a point of the sweep already.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from orpheus_clone import silence
from orpheus_clone.errors import NoSpeechError
from orpheus_clone.eval.speed import Utterance, Waited
from orpheus_clone.tokens import REAL_TIME_RATE, SAMPLE_RATE

UTTERANCES_A_STREAM = 2
FEWEST_UTTERANCES = 8
STARVED_SHARE = 0.01


@dataclass(frozen=True)
class Point:
    """What streams had at one concurrency; milliseconds are from the request."""

    concurrency: int
    adapters: int
    """Different voices in the batch."""
    utterances: int
    rate_p5: float
    """Tokens a second of a stream: 95 of 100 have at least this."""
    rate_p50: float
    first_audio_p50_ms: float
    first_audio_p95_ms: float
    first_audio_p99_ms: float
    first_speech_p50_ms: float | None
    """None where nobody can tell, as of a random base."""
    first_speech_p95_ms: float | None
    first_speech_p99_ms: float | None
    prefill_p50_ms: float
    tokens_p50_ms: float
    codec_p50_ms: float
    silence_p50_ms: float | None
    underruns: int
    """How often a listener ran out of sound, in all."""
    starved_share: float
    """Of utterances in which that happened at all."""
    starved_max_ms: float
    """The longest that one listener missed in all."""

    @property
    def is_real_time(self) -> bool:
        """See the module docstring."""
        return self.rate_p5 >= REAL_TIME_RATE and self.starved_share <= STARVED_SHARE


def point(
    utterances: Sequence[Utterance], concurrency: int, adapters: int, *, is_random: bool
) -> Point:
    """The figures of at least one utterance that was spoken at `concurrency`."""
    speech = [None if is_random else speech_heard_ms(one) for one in utterances]
    spoken = [ms for ms in speech if ms is not None]
    waited = [Waited.of(one, ms) for one, ms in zip(utterances, speech, strict=True)]
    played = [one.played() for one in utterances]
    rates = [one.rate for one in utterances]
    audio = _percentiles([one.first_audio_ms for one in utterances])
    first = _percentiles(spoken) if spoken else (None, None, None)
    return Point(
        concurrency=concurrency,
        adapters=adapters,
        utterances=len(utterances),
        rate_p5=round(float(np.percentile(rates, 5)), 2),
        rate_p50=round(median(rates), 2),
        first_audio_p50_ms=audio[0],
        first_audio_p95_ms=audio[1],
        first_audio_p99_ms=audio[2],
        first_speech_p50_ms=first[0],
        first_speech_p95_ms=first[1],
        first_speech_p99_ms=first[2],
        prefill_p50_ms=round(median(w.prefill for w in waited), 1),
        tokens_p50_ms=round(median(w.tokens for w in waited), 1),
        codec_p50_ms=round(median(w.codec for w in waited), 1),
        silence_p50_ms=round(median(w.silence for w in waited), 1) if spoken else None,
        underruns=sum(player.underruns for player in played),
        starved_share=sum(player.underruns > 0 for player in played) / len(played),
        starved_max_ms=round(1000 * max(player.starved_s for player in played), 1),
    )


def speech_heard_ms(utterance: Utterance) -> float | None:
    """When its first speech is played; None where nobody speaks."""
    try:
        span = silence.speech_span(utterance.samples, SAMPLE_RATE)
    except NoSpeechError:
        return None
    return utterance.heard_at_ms(span.head_ms)


def utterances_at(concurrency: int) -> int:
    """How many are spoken for a point."""
    return max(FEWEST_UTTERANCES, UTTERANCES_A_STREAM * concurrency)


def next_concurrency(ladder: Sequence[int], measured: Sequence[Point]) -> int | None:
    """The smallest of the ladder that is not measured and not beyond one that broke real time."""
    known = {point.concurrency for point in measured}
    broken = min((p.concurrency for p in measured if not p.is_real_time), default=None)
    left = [n for n in sorted(set(ladder)) if n not in known and (broken is None or n < broken)]
    return left[0] if left else None


def real_time_streams(measured: Sequence[Point]) -> int:
    """The most streams that were in real time; 0 where none were.

    One that is in real time above one that is not was luck.
    """
    ordered = sorted(measured, key=lambda point: point.concurrency)
    streams = 0
    for measured_point in ordered:
        if not measured_point.is_real_time:
            break
        streams = measured_point.concurrency
    return streams


def cost_per_hour(price_per_hour: float | None, streams: int) -> float | None:
    """Of an hour of audio, from the price of an hour of the machine; None without either."""
    return None if price_per_hour is None or not streams else price_per_hour / streams


def _percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    p50, p95, p99 = np.percentile(values, (50, 95, 99)).round(1).tolist()
    return p50, p95, p99
