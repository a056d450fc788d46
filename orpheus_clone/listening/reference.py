"""The speaker as they are: held-out clips, and how fast and how high they speak.

    RUN/reference/
      reference.json    what is below, and of each clip: file, id, text, seconds
      001.flac …        at most `MOST_CLIPS`

train writes it, so that a run can be evaluated where its corpus is not. The clips are held out:
no epoch has learnt them. Pace and pitch are of the whole corpus.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from orpheus_clone import audio, disk, manifest, silence, text
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import ArtifactError, AudioError, NoSpeechError
from orpheus_clone.layout import PreparedDir, RunDir
from orpheus_clone.manifest import Clip
from orpheus_clone.tokens import SAMPLE_RATE

MOST_CLIPS = 24
"""Enough for a mean voice: of as many of Allison Smith's short prompts its cosine to that of 100
others is 0.96, of 12 it is 0.95, of 6 0.91."""
PACED_CLIPS = 100
"""As many, spread over the corpus, tell how fast somebody speaks."""
FILE = "reference.json"
HINT = "run train again"


@dataclass(frozen=True)
class HeldOut:
    """A clip of the speaker that training never saw."""

    id: str
    text: str
    samples: Waveform
    """(samples,) at 24 kHz."""


@dataclass(frozen=True)
class Reference:
    """See the module docstring; there is at least one clip."""

    clips: tuple[HeldOut, ...]
    language: str
    """ISO 639-1, of the recordings."""
    seconds_per_letter: float
    """Median over clips of speech, without the silence around it, by `text.letters`."""
    pitch_hz: float | None
    """Median; None where no clip had one."""


def write(data: PreparedDir, run: RunDir) -> None:
    """Replace RUN/reference/ by what the corpus says of its speaker, as a whole."""
    clips = manifest.read_clips(data.clips)
    held = _spread([clip for clip in clips if clip.split == "heldout"], MOST_CLIPS)
    pitches = [clip.measured.pitch_hz for clip in clips if clip.measured.pitch_hz is not None]
    with disk.atomic_dir(run.reference) as folder:
        rows = []
        for number, clip in enumerate(held, start=1):
            file = f"{number:03}.flac"
            shutil.copyfile(_file(data, clip), folder / file)
            rows.append({"file": file, "id": clip.id, "text": clip.text, "seconds": clip.seconds})
        reference = {
            "language": data.stamp().language,
            "seconds_per_letter": _seconds_per_letter(data, _spread(clips, PACED_CLIPS)),
            "pitch_hz": median(pitches) if pitches else None,
            "clips": rows,
        }
        disk.write_json(folder / FILE, reference)


def read(run: RunDir) -> Reference:
    """The reference that a run carries; ArtifactError where it is missing or damaged."""
    path = run.reference / FILE
    data = disk.read_json(path, HINT)
    try:
        return Reference(
            clips=tuple(_held_out(run.reference, row) for row in data["clips"]),
            language=str(data["language"]),
            seconds_per_letter=float(data["seconds_per_letter"]),
            pitch_hz=None if data["pitch_hz"] is None else float(data["pitch_hz"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: is not what train wrote ({error!r}); {HINT}") from None


def _held_out(folder: Path, row: dict[str, Any]) -> HeldOut:
    path = folder / Path(str(row["file"])).name
    try:
        return HeldOut(str(row["id"]), str(row["text"]), audio.read(path))
    except AudioError as error:
        raise ArtifactError(f"{error}; {HINT}") from None


def _seconds_per_letter(data: PreparedDir, clips: Sequence[Clip]) -> float:
    paces = []
    for clip in clips:
        spoken_s = speech_s(_samples(data, clip))
        if spoken_s is not None:
            paces.append(spoken_s / text.letters(clip.text))
    if not paces:
        raise ArtifactError(f"{data.audio}: nobody speaks in these clips; run prepare again")
    return median(paces)


def speech_s(samples: Waveform) -> float | None:
    """Seconds from the first word to the last of (samples,); None where nobody speaks."""
    try:
        span = silence.speech_span(samples, SAMPLE_RATE)
    except NoSpeechError:
        return None
    return (span.offset_ms - span.onset_ms) / 1000


def _samples(data: PreparedDir, clip: Clip) -> Waveform:
    try:
        return audio.read(_file(data, clip))
    except AudioError as error:
        raise ArtifactError(f"{error}; run prepare again") from None


def _file(data: PreparedDir, clip: Clip) -> Path:
    path = data.audio / f"{clip.key}.flac"
    if not path.is_file():
        raise ArtifactError(f"{path}: the clip's audio is missing; run prepare again")
    return path


def _spread(clips: Sequence[Clip], most: int) -> list[Clip]:
    """At most so many, evenly spread over the corpus, in its order."""
    if len(clips) <= most:
        return list(clips)
    return [clips[i * len(clips) // most] for i in range(most)]
