"""prepare: our corpus against a straight script of the same libraries, on the same ten minutes.

The straight script, written down here as the reference: for each clip in turn, read it, find the
speech (Silero, as faster-whisper carries it), hear the words with their times (faster-whisper),
and encode it (SNAC). Both have the same models, the same beam and two cores, and open their models
within their time. What tells speakers apart and what rates sound is off, since the script has
neither; ours still cuts, measures, trims, levels and writes a corpus.

The material is speech over and over, each time at another tempo and level, so that nothing is
done twice. The script does one half before ours and the other half after it, so that a machine
that slows down is fair to both.
"""

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from orpheus_clone import asr, audio, models, recipe
from orpheus_clone.audio import Waveform
from orpheus_clone.bench import Result
from orpheus_clone.codec.snac import Codec
from orpheus_clone.errors import MachineError
from orpheus_clone.layout import PreparedDir
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare.order import Order
from orpheus_clone.prepare.run import prepare
from orpheus_clone.prepare.transcripts import find_recordings
from orpheus_clone.tokens import FRAME_SAMPLES, SAMPLE_RATE

MINUTES = 10.0
CORES = 2
LANGUAGE = "en"
WHISPER = "base"
TEMPO = (0.94, 1.06)
"""Of the copies; read at another rate, so the pitch goes along."""
GAIN_DB = (-12.0, 0.0)
SAMPLES = Path(__file__).parents[2] / "data_samples"

STAGES = {
    "open": ("open", "open"),
    "decode": ("decode", "read"),
    "words": ("listen", "words"),
    "speech": (None, "speech"),
    "measures": ("measure", None),
    "codes": ("tokenize", "codes"),
    "write": ("write", None),
}
"""A row of the table: what ours calls the stage, and the script; None: it has no such stage."""


class Stopwatch:
    """Seconds of each stage, by what is reported of them.

    All time since the report before belongs to the stage that is reported; what comes before the
    first is "open", what comes after the last "write".
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._is_open = False
        self.seconds: dict[str, float] = defaultdict(float)

    def __call__(self, stage: str, _done: int = 0, _of: int = 0) -> None:
        """A report of `stage`."""
        now = self._clock()
        self.seconds[stage if self._is_open else "open"] += now - self._last
        self._last, self._is_open = now, True

    def skip(self) -> None:
        """What was between the last report and now counts for nobody."""
        self._last = self._clock()


def run(whisper: str | None = None, recordings: Path | None = None) -> Result:
    """`whisper` names the ASR's model or directory; `recordings` is speech, else data_samples."""
    whisper = whisper or WHISPER
    asr.load(whisper)  # says what to do where it cannot be had, and warms the disk for both
    base = models.locate("nano")
    with tempfile.TemporaryDirectory() as folder, two_cores():
        clips = speech(recordings or SAMPLES, Path(folder) / "speech", MINUTES)
        seconds = sum(len(audio.read(clip)) for clip in clips) / SAMPLE_RATE
        script = Straight(whisper, base)
        half = len(clips) // 2
        script.do(clips[:half])
        ours = _ours(whisper, base, clips[0].parent, Path(folder) / "data")
        script.do(clips[half:])
    return _result(whisper, len(clips), seconds, ours, script.watch.seconds)


def speech(source: Path, folder: Path, minutes: float) -> list[Path]:
    """At least `minutes` of the recordings in `source`, over and over, no two alike."""
    if not source.is_dir():
        raise MachineError(f"{source} is not here; name a folder with speech: --recordings FOLDER")
    originals = [audio.read(path) for path in find_recordings([str(source)])]
    rng = np.random.default_rng(0)
    made: list[Path] = []
    left = minutes * 60 * SAMPLE_RATE
    while left > 0:
        original = originals[len(made) % len(originals)]
        copy = _another(original, rng.uniform(*TEMPO), rng.uniform(*GAIN_DB))
        made.append(folder / f"clip{len(made):04}.flac")
        audio.write(made[-1], copy)
        left -= len(copy)
    return made


class Straight:
    """The reference: one clip after another, one stage after another."""

    def __init__(self, whisper: str, base: BaseModel) -> None:
        from faster_whisper import WhisperModel
        from faster_whisper.transcribe import ctranslate2

        self.watch = Stopwatch()
        is_cuda = ctranslate2.get_cuda_device_count() > 0
        self._whisper: Any = WhisperModel(
            whisper,
            device="cuda" if is_cuda else "cpu",
            compute_type="float16" if is_cuda else "int8",
            cpu_threads=CORES,
        )
        self._codec = Codec(base.codec_path, is_silent=True)
        self.watch("open")

    def do(self, clips: Sequence[Path]) -> list[str]:
        """What was heard in each."""
        self.watch.skip()
        heard = []
        for clip in clips:
            samples = audio.read(clip)
            self.watch("read")
            at_16k = _at_16k(samples)
            _speech_timestamps(at_16k)
            self.watch("speech")
            heard.append(self._words(at_16k))
            self.watch("words")
            self._codec.encode(np.pad(samples, (0, -len(samples) % FRAME_SAMPLES)))
            self.watch("codes")
        return heard

    def _words(self, at_16k: Waveform) -> str:
        segments, _ = self._whisper.transcribe(
            at_16k,
            language=LANGUAGE,
            beam_size=asr.BEAM,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
        )
        return " ".join(word.word.strip() for segment in segments for word in segment.words)


@contextmanager
def two_cores() -> Iterator[None]:
    """The process on two cores, where the system can do that."""
    import torch

    threads, cores = torch.get_num_threads(), None
    if hasattr(os, "sched_getaffinity"):
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(cores)[:CORES])
    torch.set_num_threads(CORES)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if cores is not None:
            os.sched_setaffinity(0, cores)


def _ours(whisper: str, base: BaseModel, folder: Path, out: Path) -> dict[str, float]:
    chosen = [f"judges.asr={whisper}", "judges.speaker=none", "judges.mos=none"]
    order = Order([str(folder)], "bench", base, recipe.load(None, chosen), LANGUAGE)
    watch = Stopwatch()
    prepare(order, PreparedDir(out), watch, threads=CORES)
    watch("write")
    return watch.seconds


def _result(
    whisper: str, clips: int, seconds: float, ours: dict[str, float], script: dict[str, float]
) -> Result:
    rows = [
        _row(name, seconds, ours.get(mine or ""), script.get(theirs or ""))
        for name, (mine, theirs) in STAGES.items()
    ]
    ours_s, script_s = sum(ours.values()), sum(script.values())
    rows.append(_row("all", seconds, ours_s, script_s))
    line = {
        "bench": "prepare",
        "model": "nano",
        "asr": Path(whisper).name,
        "clips": clips,
        "minutes": round(seconds / 60, 2),
        "ours_minutes_per_minute": round(seconds / ours_s, 2),
        "straight_minutes_per_minute": round(seconds / script_s, 2),
        "speedup": round(script_s / ours_s, 2),
    }
    return Result(rows, line | {f"ours_{stage}_s": round(s, 2) for stage, s in ours.items()})


def _row(name: str, seconds: float, ours: float | None, script: float | None) -> dict[str, Any]:
    """Seconds, and minutes of audio in a minute."""
    return {
        "stage": name,
        "straight_s": _shown(script),
        "ours_s": _shown(ours),
        "straight_minutes_per_minute": _shown(script and seconds / script),
        "ours_minutes_per_minute": _shown(ours and seconds / ours),
    }


def _shown(number: float | None) -> float | str:
    return "" if number is None else round(number, 2)


def _another(original: Waveform, tempo: float, gain_db: float) -> Waveform:
    import soxr

    copy = soxr.resample(original, SAMPLE_RATE * tempo, SAMPLE_RATE)
    return np.asarray(copy / max(1.0, np.abs(copy).max()) * 10 ** (gain_db / 20), np.float32)


def _at_16k(samples: Waveform) -> Waveform:
    import soxr

    return np.asarray(soxr.resample(samples, SAMPLE_RATE, asr.RATE), np.float32)


def _speech_timestamps(at_16k: Waveform) -> list[dict[str, int]]:
    from faster_whisper.vad import get_speech_timestamps

    found: list[dict[str, int]] = get_speech_timestamps(at_16k)
    return found
