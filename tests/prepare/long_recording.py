"""A long recording of known content: clips of data_samples, with pauses of room tone between them.

What is said in each clip and where it begins and ends is known, so that cuts can be judged.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from orpheus_clone import audio, silence
from orpheus_clone.asr import Word
from orpheus_clone.prepare.cues import Cue
from orpheus_clone.tokens import SAMPLE_RATE
from tests.signals import noise

SAMPLES = Path(__file__).parents[2] / "data_samples"
TONE_DBFS = -65.0


@dataclass(frozen=True)
class Long:
    """Where it lies, and the sentences in it with their times."""

    path: Path
    said: tuple[Cue, ...]

    @property
    def text(self) -> str:
        return " ".join(cue.text for cue in self.said)

    @property
    def words(self) -> list[Word]:
        """Each sentence's words, dividing its time by their letters."""
        return [word for cue in self.said for word in spread(cue)]

    def sentence_at(self, time_s: float) -> Cue | None:
        """The sentence that is being said, more than 20 ms from its ends."""
        inside = (c for c in self.said if c.start_s + 0.02 < time_s < c.end_s - 0.02)
        return next(inside, None)


def spread(cue: Cue) -> list[Word]:
    texts = cue.text.split()
    edges = np.cumsum([0, *(len(text) + 1 for text in texts)])
    times = cue.start_s + (cue.end_s - cue.start_s) * edges / edges[-1]
    return [
        Word(text, float(start), float(end), 0.9)
        for text, (start, end) in zip(texts, pairwise(times), strict=True)
    ]


def recorded(path: Path, numbers: range, pauses_s: list[float]) -> Long:
    """Clips `numbers`, each followed by the next of `pauses_s` of room tone, over and over."""
    texts = dict(
        line.split("|", 1)
        for line in (SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()
    )
    parts, said = [noise(500, TONE_DBFS)], []
    at = len(parts[0])
    for i, number in enumerate(numbers):
        name = f"{number:03}"
        spoken = _speech(audio.read(SAMPLES / f"{name}.flac"))
        pause = noise(1000 * pauses_s[i % len(pauses_s)], TONE_DBFS, seed=i)
        said.append(Cue(at / SAMPLE_RATE, (at + len(spoken)) / SAMPLE_RATE, texts[name]))
        parts += [spoken, pause]
        at += len(spoken) + len(pause)
    audio.write(path, np.concatenate(parts))
    return Long(path, tuple(said))


def _speech(samples: audio.Waveform) -> audio.Waveform:
    span = silence.speech_span(samples, SAMPLE_RATE)
    return samples[round(24 * span.onset_ms) : round(24 * span.offset_ms)]
