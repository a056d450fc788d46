"""Many hearings to the figures of a voice: rates over the corpus, medians over utterances.

    wer cer coverage     sums over sums, never a mean of clips: a long text counts as long
    stop loop cut        shares of the utterances
    head tail pace       medians (and 95th percentiles); where nobody speaks counts as never, so
                         that muteness is no promptness
    similarity mos       means over the utterances in which somebody speaks
    pitch                how far the median lies from the speaker's, in semitones

Every function takes any selection of hearings, so an interval can be had by drawing them anew.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from orpheus_clone.judges import Judges
from orpheus_clone.listening.hear import Hearing, Listener
from orpheus_clone.listening.words import Difference

RANDOM_BASE = "the base model is random and never learnt to speak"
CUT_MS = 20.0
"""Speech that goes on to within this of the end was cut off: prepare teaches 100 ms after it. Of
551 prepared clips none reads so; cut anywhere in the speech, 87 % of 1 500 do."""


@dataclass(frozen=True)
class Figure:
    """A measured value, infinite for "never", or None; and the reason for the latter two."""

    value: float | None
    why: str | None = None


@dataclass(frozen=True)
class Figures:
    """Of one voice over a set of prompts; see the module docstring."""

    stop_rate: Figure
    """Share that end by themselves."""
    loop_rate: Figure
    """Share that were cut because they said the same, or nothing, for long."""
    wer: Figure
    cer: Figure
    coverage: Figure
    """Share of the texts' words for which something alike was heard."""
    pace: Figure
    """Seconds per letter over the speaker's own."""
    head_p50_ms: Figure
    head_p95_ms: Figure
    tail_p50_ms: Figure
    tail_p95_ms: Figure
    cut_rate: Figure
    """Share whose speech goes on to the very end."""
    similarity: Figure
    mos: Figure
    pitch_semitones: Figure
    """Above the speaker's own pitch; negative below."""


def add_up(hearings: Sequence[Hearing], listener: Listener) -> Figures:
    """All figures of at least one hearing."""
    if listener.is_random:
        return Figures(*[Figure(None, RANDOM_BASE)] * len(Figures.__dataclass_fields__))
    without = _Reasons.of(listener.judges)
    heads, tails = [h.head_ms for h in hearings], [h.tail_ms for h in hearings]
    return Figures(
        stop_rate=share(hearings, lambda h: h.finish == "stop"),
        loop_rate=share(hearings, lambda h: h.finish in ("loop", "silence")),
        wer=_of_words(hearings, lambda d: d.word_edits, lambda d: d.words, without.asr),
        cer=_of_words(hearings, lambda d: d.letter_edits, lambda d: d.letters, without.asr),
        coverage=_of_words(hearings, lambda d: d.words_said, lambda d: d.words, without.asr),
        pace=percentile([h.pace for h in hearings], 50),
        head_p50_ms=percentile(heads, 50),
        head_p95_ms=percentile(heads, 95),
        tail_p50_ms=percentile(tails, 50),
        tail_p95_ms=percentile(tails, 95),
        cut_rate=share(hearings, lambda h: h.tail_ms is not None and h.tail_ms < CUT_MS),
        similarity=_mean([h.similarity for h in hearings], without.speaker),
        mos=_mean([h.mos for h in hearings], without.mos),
        pitch_semitones=_pitch(hearings, listener.reference.pitch_hz),
    )


def share(hearings: Sequence[Hearing], is_so: Callable[[Hearing], bool]) -> Figure:
    """Of the hearings of which it is so."""
    return Figure(sum(map(is_so, hearings)) / len(hearings))


def percentile(values: Sequence[float | None], q: float) -> Figure:
    """The `q`th, between neighbours; None is never, and so is what lies between it and another."""
    known = sorted(value for value in values if value is not None)
    place = q / 100 * (len(values) - 1)
    if math.ceil(place) >= len(known):
        why = f"only {len(known)} of {len(values)} utterances hold speech"
        return Figure(math.inf, why)
    return Figure(float(np.interp(place, range(len(known)), known)))


def _of_words(
    hearings: Sequence[Hearing],
    count: Callable[[Difference], int],
    over: Callable[[Difference], int],
    missing: str,
) -> Figure:
    differences = [h.difference for h in hearings if h.difference is not None]
    total = sum(map(over, differences))
    return Figure(sum(map(count, differences)) / total) if total else Figure(None, missing)


def _mean(values: Sequence[float | None], missing: str) -> Figure:
    known = [value for value in values if value is not None]
    return Figure(fmean(known)) if known else Figure(None, missing)


def _pitch(hearings: Sequence[Hearing], own_hz: float | None) -> Figure:
    known = [h.pitch_hz for h in hearings if h.pitch_hz is not None]
    if own_hz is None or not known:
        return Figure(None, "no utterance, or no clip of the speaker, has a pitch")
    return Figure(12 * math.log2(median(known) / own_hz))


@dataclass(frozen=True)
class _Reasons:
    """Why a judge's figure is missing."""

    asr: str
    speaker: str
    mos: str

    @classmethod
    def of(cls, judges: Judges) -> "_Reasons":
        silent = "nobody speaks in any utterance"
        return cls(
            "no judge of words is here (judges.asr)",
            silent if judges.speaker else "no judge of voices is here (judges.speaker)",
            silent if judges.mos else "DNSMOS is not here (judges.mos)",
        )
