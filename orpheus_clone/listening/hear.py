"""One utterance after the other, heard: what was said, how fast, in whose voice, how it ends.

    │◀── head ──▶│ please hang up your phone │◀─ tail ─▶│
    0            onset                       offset     the utterance ends: by itself, or cut

Each figure is None where its judge is missing, or where nobody speaks. Of a random base, which
speaks noise, nothing is asked but how long it went on: in noise, speech would only be found by
mistake.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from orpheus_clone import silence, text
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import NoSpeechError
from orpheus_clone.judges import Judges
from orpheus_clone.listening.reference import Reference
from orpheus_clone.listening.words import Difference, difference
from orpheus_clone.pitch import pitch_hz
from orpheus_clone.runaway import Runaway
from orpheus_clone.silence import SpeechSpan
from orpheus_clone.speaker import Embedding, SpeakerModel
from orpheus_clone.tokens import SAMPLE_RATE

Ending = Literal["stop", "length"] | Runaway
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Spoken:
    """What a voice made of a text."""

    text: str
    samples: Waveform
    """(samples,) at 24 kHz."""
    finish: Ending
    dropped_ms: float = 0.0
    """Silence before the speech that was left out of `samples`; it is the voice's all the same."""


@dataclass(frozen=True)
class Hearing:
    """An utterance in numbers; see the module docstring for None."""

    text: str
    seconds: float
    finish: Ending
    speech_s: float | None
    """From the first word to the last."""
    head_ms: float | None
    tail_ms: float | None
    pace: float | None
    """Seconds per letter over the speaker's own median: 1.5 is half as slow again."""
    heard: str | None
    """What the recogniser understood."""
    difference: Difference | None
    similarity: float | None
    """Cosine to the mean voice of the held-out clips."""
    mos: float | None
    pitch_hz: float | None


class Listener:
    """The judges, and the speaker that a voice should sound like; the voice is embedded once."""

    def __init__(self, judges: Judges, reference: Reference, *, is_random: bool = False) -> None:
        """`is_random` says that the base never learnt to speak, see `BaseModel.is_random`."""
        self.judges = judges
        self.reference = reference
        self.is_random = is_random
        self._clips: list[Embedding] = []
        if judges.speaker is not None and not is_random:
            self._clips = _embedded(judges.speaker, [clip.samples for clip in reference.clips])

    def hear(
        self, spoken: Sequence[Spoken], progress: Progress = lambda _done, _of: None
    ) -> list[Hearing]:
        """Each utterance heard, in order; words first, which take longest."""
        heard = self._words(spoken, progress)
        return [self._hear(one, words) for one, words in zip(spoken, heard, strict=True)]

    def ceiling(self) -> list[float]:
        """Similarity of each held-out clip to the mean of the others: no clone comes nearer.

        Empty where nothing tells voices apart, or there is one clip only.
        """
        clips = self._clips
        if len(clips) < 2:
            return []
        others = [_mean([c for c in clips if c is not clip]) for clip in clips]
        return [float(clip @ mean) for clip, mean in zip(clips, others, strict=True)]

    def _words(self, spoken: Sequence[Spoken], progress: Progress) -> list[str | None]:
        if self.judges.asr is None or self.is_random:
            return [None] * len(spoken)
        waveforms = [one.samples for one in spoken]
        heard = self.judges.asr.hear(waveforms, self.reference.language, progress)
        return [" ".join(word.text for word in one.words) for one in heard]

    def _hear(self, one: Spoken, heard: str | None) -> Hearing:
        span = None if self.is_random else _span(one.samples)
        language = self.reference.language
        speech_s = None if span is None else (span.offset_ms - span.onset_ms) / 1000
        return Hearing(
            text=one.text,
            seconds=len(one.samples) / SAMPLE_RATE,
            finish=one.finish,
            speech_s=speech_s,
            head_ms=None if span is None else span.head_ms + one.dropped_ms,
            tail_ms=None if span is None else span.tail_ms,
            pace=None if speech_s is None else self._pace(speech_s, one.text),
            heard=heard,
            difference=None if heard is None else difference(one.text, heard, language),
            similarity=None if span is None else self._similarity(one.samples),
            mos=None if span is None or not self.judges.mos else self.judges.mos(one.samples),
            pitch_hz=None if span is None else pitch_hz(_between(one.samples, span)),
        )

    def _pace(self, speech_s: float, spoken: str) -> float:
        return speech_s / text.letters(spoken) / self.reference.seconds_per_letter

    def _similarity(self, samples: Waveform) -> float | None:
        if not self._clips or self.judges.speaker is None:
            return None
        return float(self.judges.speaker.embed(samples) @ _mean(self._clips))


def _embedded(model: SpeakerModel, clips: Sequence[Waveform]) -> list[Embedding]:
    """Of the clips in which somebody speaks."""
    return [model.embed(samples) for samples in clips if _span(samples) is not None]


def _mean(vectors: Sequence[Embedding]) -> Embedding:
    mean = np.mean(vectors, axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def _span(samples: Waveform) -> SpeechSpan | None:
    try:
        return silence.speech_span(samples, SAMPLE_RATE)
    except NoSpeechError:
        return None


def _between(samples: Waveform, span: SpeechSpan) -> Waveform:
    """The speech without what lies around it."""
    first, last = (round(ms * SAMPLE_RATE / 1000) for ms in (span.onset_ms, span.offset_ms))
    return samples[first:last]
