"""A man whose clips lie in data_samples, evaluated as a voice that learnt them, sound or broken.

Real judges hear him. What no evaluation changes, they hear once.
"""

import hashlib
import shutil
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from orpheus_clone import asr, audio, disk, dnsmos, recipe, silence, speaker
from orpheus_clone.asr import Asr, Heard, Progress
from orpheus_clone.audio import Waveform
from orpheus_clone.engine.base import Precision
from orpheus_clone.eval.parts import OpenSpeaker
from orpheus_clone.eval.report import Evaluation
from orpheus_clone.eval.run import Order, evaluate
from orpheus_clone.judges import Judges, seated
from orpheus_clone.layout import RunDir
from orpheus_clone.listening.reference import speech_s
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Recipe
from orpheus_clone.speech import Speaker
from orpheus_clone.text import letters
from orpheus_clone.tokens import SAMPLE_RATE
from tests import judges
from tests.conftest import DATA_SAMPLES, VOICE
from tests.eval.tape import Tape, TapeEngine

TEXTS = dict(
    line.split("|", 1)
    for line in (DATA_SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()
)
HELD_OUT = ("001", "009", "012")
PROMPTS = ("002", "006", "010", "011", "014", "017")
QUICK = ("eval.sweep=[]", "eval.adapters=1", "eval.concurrency=2")

Change = Callable[[Waveform], Waveform]
"""What is done to a clip before it is learnt, (samples,) to (samples,)."""


def clip(name: str) -> Waveform:
    """As prepare leaves it: 50 ms of room tone before the speech, 100 ms after it."""
    samples = audio.read(DATA_SAMPLES / f"{name}.flac")
    span = silence.speech_span(samples, SAMPLE_RATE)
    first = max(0, ms(span.onset_ms - 50))
    return samples[first : ms(span.offset_ms + 100)]


def ms(milliseconds: float) -> int:
    """Samples."""
    return round(milliseconds * SAMPLE_RATE / 1000)


def room_tone(milliseconds: float) -> Waveform:
    """As quiet as the clips' own."""
    white = np.random.default_rng(0).standard_normal(ms(milliseconds))
    return (white * 10 ** (-75 / 20)).astype(np.float32)


def another(samples: Waveform, ratio: float = 1.25) -> Waveform:
    """Another throat: higher and faster, or lower and slower, by so much."""
    resampled = soxr.resample(samples, SAMPLE_RATE * ratio, SAMPLE_RATE)
    return np.asarray(np.clip(resampled, -1, 1), np.float32)


class Remembering:
    """A judge of words that hears what it heard before in no time."""

    def __init__(self, inner: Asr) -> None:
        self._inner = inner
        self._known: dict[str, Heard] = {}
        self.digest = inner.digest

    def hear(
        self,
        waveforms: Sequence[Waveform],
        language: str | None,
        progress: Progress = lambda _done, _of: None,
    ) -> list[Heard]:
        names = [hashlib.sha256(samples.tobytes()).hexdigest() for samples in waveforms]
        new = [i for i, name in enumerate(names) if name not in self._known]
        heard = self._inner.hear([waveforms[i] for i in new], language, progress)
        self._known |= {names[i]: found for i, found in zip(new, heard, strict=True)}
        return [self._known[name] for name in names]


def real_judges() -> Judges:
    """whisper-base, ECAPA-TDNN and DNSMOS."""
    words = Remembering(asr.load(str(judges.whisper_dir())))
    return Judges(words, speaker.load(judges.ecapa_file()), dnsmos.load(), ())


def with_reference(run: RunDir, out: Path) -> RunDir:
    """A copy of a run whose speaker is the man of data_samples."""
    copy = RunDir(Path(shutil.copytree(run.root, out)))
    shutil.rmtree(copy.reference, ignore_errors=True)
    rows, paces = [], []
    for name in HELD_OUT:
        samples = clip(name)
        copy.reference.mkdir(exist_ok=True)
        audio.write(copy.reference / f"{name}.flac", samples)
        seconds = len(samples) / SAMPLE_RATE
        rows.append({"file": f"{name}.flac", "id": name, "text": TEXTS[name], "seconds": seconds})
        paces.append((speech_s(samples) or 0) / letters(TEXTS[name]))
    pace = sorted(paces)[len(paces) // 2]
    facts = {"language": "en", "seconds_per_letter": pace, "pitch_hz": 100.0, "clips": rows}
    disk.write_json(copy.reference / "reference.json", facts)
    return copy


def settings(folder: Path, *overrides: str) -> Recipe:
    """The default recipe, asked for what the man has said."""
    prompts = folder / "prompts.txt"
    prompts.write_text("".join(f"{TEXTS[name]}\n" for name in PROMPTS), encoding="utf-8")
    asked = (f"eval.prompts_file={prompts}", f"eval.prompts={len(PROMPTS)}")
    return recipe.load(None, [*asked, *QUICK, *overrides])


@dataclass(frozen=True)
class Studio:
    """Where voices are evaluated."""

    run: RunDir
    base: BaseModel
    """As if it had been trained."""
    judges: Judges
    settings: Recipe

    async def evaluate(self, learnt: Change = lambda samples: samples) -> Evaluation:
        """A voice that learnt the clips as `learnt` left them; stock voices are another man's."""
        jury = seated(self.judges)
        order = Order(self.run, self.settings, self.base, jury, "tape", "CPU (none)")
        return await evaluate(order, self.opening(learnt))

    def opening(self, learnt: Change) -> OpenSpeaker:
        """Opens the voice's speaker."""
        tape = Tape()
        said = {
            (VOICE, TEXTS[name]): tape.record(learnt(clip(name))) for name in HELD_OUT + PROMPTS
        }
        for name in self.base.voices:
            said |= {(name, TEXTS[n]): tape.record(another(clip(n), 0.8)) for n in PROMPTS}
        engine = TapeEngine(self.base, said, tape.record(clip("004")))

        @asynccontextmanager
        async def opened(_: Precision | None) -> AsyncGenerator[Speaker, None]:
            yield Speaker(engine, tape, self.base)

        return opened
