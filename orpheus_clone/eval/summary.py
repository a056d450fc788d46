"""What an evaluation found in one flat object, and what the speaker's own clips show beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from orpheus_clone.eval.lines import Line
from orpheus_clone.eval.parts import Takes
from orpheus_clone.eval.special import Tag
from orpheus_clone.judges import Judges
from orpheus_clone.listening.figures import RANDOM_BASE, Figure, Figures, add_up
from orpheus_clone.listening.hear import Hearing, Listener, Spoken
from orpheus_clone.models import BaseModel


@dataclass(frozen=True)
class Real:
    """The speaker's held-out clips, heard as a voice is; None where that cannot be measured."""

    clips: int
    wer: float | None
    cer: float | None
    similarity: float | None
    """Of each clip to the others: no clone comes nearer."""
    mos: float | None
    head_p50_ms: float | None
    tail_p50_ms: float | None
    pitch_hz: float | None
    seconds_per_letter: float


@dataclass(frozen=True)
class Stock:
    """A stock voice of the base beside the speaker."""

    name: str
    similarity: float | None

    @classmethod
    def of(cls, name: str, hearings: Sequence[Hearing]) -> "Stock":
        """The mean over what it spoke."""
        known = [h.similarity for h in hearings if h.similarity is not None]
        return cls(name, round(fmean(known), 4) if known else None)


def real_of(listener: Listener, progress: Callable[[int, int], None]) -> Real:
    """How the speaker's own clips do with these judges."""
    own = listener.reference
    clips = [Spoken(clip.text, clip.samples, "stop") for clip in own.clips]
    figures = add_up(listener.hear(clips, progress), listener)
    ceiling = listener.ceiling()
    return Real(
        clips=len(clips),
        wer=figures.wer.value,
        cer=figures.cer.value,
        similarity=round(fmean(ceiling), 4) if ceiling else None,
        mos=figures.mos.value,
        head_p50_ms=_finite(figures.head_p50_ms),
        tail_p50_ms=_finite(figures.tail_p50_ms),
        pitch_hz=own.pitch_hz,
        seconds_per_letter=own.seconds_per_letter,
    )


def nearest(stock: Sequence[Stock], judges: Judges, base: BaseModel) -> Figure:
    """The similarity of the stock voice that is nearest to the speaker."""
    known = [voice.similarity for voice in stock if voice.similarity is not None]
    if known:
        return Figure(max(known))
    if base.is_random:
        return Figure(None, RANDOM_BASE)
    if judges.speaker is None:
        return Figure(None, "no judge of voices is here (judges.speaker)")
    return Figure(None, "the base has no stock voice that speaks")


def summary(lines: Sequence[Line], figures: Figures) -> dict[str, Any]:
    """For CI; None is not measured, or never."""
    speeches = [line.first_speech_ms for line in lines if line.first_speech_ms is not None]
    audio = [line.first_audio_ms for line in lines]
    rates = [line.rate for line in lines]
    return {
        "utterances": len(lines),
        "seconds": round(sum(line.seconds for line in lines), 2),
        "stream_rate_p50": _percentile(rates, 50),
        "stream_rate_p5": _percentile(rates, 5),
        "underruns": sum(line.underruns for line in lines),
        **{f"first_audio_p{q}_ms": _percentile(audio, q) for q in (50, 95, 99)},
        **{f"first_speech_p{q}_ms": _percentile(speeches, q) for q in (50, 95, 99)},
        "head_silence_p50_ms": _finite(figures.head_p50_ms),
        "head_silence_p95_ms": _finite(figures.head_p95_ms),
        "tail_silence_p50_ms": _finite(figures.tail_p50_ms),
        "tail_silence_p95_ms": _finite(figures.tail_p95_ms),
        "stop_rate": _finite(figures.stop_rate),
        "loop_rate": _finite(figures.loop_rate),
        "cut_rate": _finite(figures.cut_rate),
        "wer": _finite(figures.wer),
        "cer": _finite(figures.cer),
        "coverage": _finite(figures.coverage),
        "similarity": _finite(figures.similarity),
        "mos": _finite(figures.mos),
        "pace": _finite(figures.pace),
        "pitch_semitones": _finite(figures.pitch_semitones),
        "without_speech": sum(line.head_ms is None for line in lines),
    }


def unmeasured(base: BaseModel, takes: Takes, tags: Sequence[Tag]) -> list[str]:
    """What was left out that has no gate to say so, and why."""
    notes = []
    if base.is_random:
        notes.append(f"the voice itself is not measured: {RANDOM_BASE}")
    elif not tags:
        why = "the base knows none" if not base.tags else "no judge of words is here"
        notes.append(f"emotion tags are not measured: {why}")
    if not takes.in_bf16:
        why = f"the engine speaks in {takes.info.precision}"
        if takes.info.precision == "fp8":
            why = "eval.precision_prompts is 0"
        notes.append(f"FP8 is not compared with bf16: {why}")
    return notes


def _finite(figure: Figure) -> float | None:
    if figure.value is None or not np.isfinite(figure.value):
        return None
    return round(figure.value, 4)


def _percentile(values: Sequence[float], q: float) -> float | None:
    return round(float(np.percentile(values, q)), 2) if values else None
