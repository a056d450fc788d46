"""clips.jsonl and rejected.jsonl: what became of each recording, one JSON object a line.

A broken line is named `file:line`. Reading back what was written gives the same clips.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from orpheus_clone import disk
from orpheus_clone.errors import ArtifactError

Split = Literal["train", "heldout"]


Kind = Literal[
    "unreadable", "no_speech", "too_short", "too_long", "no_transcript", "no_audio", "bad_text",
    "wrong_text", "other_speaker", "two_speakers", "noisy", "music", "clipped", "narrowband",
    "digital_silence", "poor",
]  # fmt: skip
"""Why something was not kept."""


@dataclass(frozen=True)
class Measured:
    """What was measured of a clip; None where nothing could measure it."""

    snr_db: float | None = None
    bandwidth_hz: float | None = None
    lufs: float | None = None
    mos: float | None = None
    similarity: float | None = None
    cer: float | None = None
    pitch_hz: float | None = None


@dataclass(frozen=True)
class Clip:
    """A recording that was kept; times are of the trimmed clip unless they say source."""

    id: str
    text: str
    source: str
    """The recording's file, as it was named."""
    start_s: float
    """Where in the recording it was cut out."""
    end_s: float
    key: str
    """Hash of the recording's content and of the settings that shaped the clip."""
    seconds: float
    frames: int
    source_head_ms: float
    """Silence before the speech in the recording."""
    source_tail_ms: float
    split: Split
    measured: Measured = field(default_factory=Measured)
    flags: tuple[str, ...] = ()
    """What could not be checked, or is poor without being a reason to reject."""

    def __post_init__(self) -> None:
        if self.frames < 1 or self.seconds <= 0:
            raise ArtifactError(f"clip {self.id}: {self.frames} frames, {self.seconds} s")
        if self.split not in ("train", "heldout"):
            raise ArtifactError(f"clip {self.id}: split {self.split!r} is not train or heldout")


@dataclass(frozen=True)
class Rejected:
    """A recording, a stretch of one, or a transcript that was not kept, and why."""

    id: str
    source: str
    kind: Kind
    reason: str
    seconds: float = 0.0


def write_clips(path: Path, clips: Iterable[Clip]) -> None:
    """Write clips.jsonl whole."""
    _write(path, [asdict(clip) for clip in clips])


def write_rejected(path: Path, rejected: Iterable[Rejected]) -> None:
    """Write rejected.jsonl whole."""
    _write(path, [asdict(entry) for entry in rejected])


def read_clips(path: Path) -> list[Clip]:
    """The clips of clips.jsonl; ArtifactError names a broken line."""
    names = {field.name for field in fields(Clip)}
    clips = []
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}:{number}"
        try:
            data: Any = json.loads(line)
        except json.JSONDecodeError as error:
            raise ArtifactError(f"{where}: is not JSON ({error}); run prepare again") from None
        if not isinstance(data, dict) or set(data) != names:
            raise ArtifactError(f"{where}: is not a clip; run prepare again")
        try:
            measured, flags = Measured(**data.pop("measured")), tuple(data.pop("flags"))
            clips.append(Clip(**data, measured=measured, flags=flags))
        except (ArtifactError, TypeError) as error:
            raise ArtifactError(f"{where}: {error}; run prepare again") from None
    return clips


def split_of(content: str, fraction: float) -> Split:
    """Held out or not, by the hash of the recording alone: no other and no setting moves it."""
    return "heldout" if int(content[:8], 16) < fraction * 2**32 else "train"


def _lines(path: Path) -> Sequence[str]:
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; run prepare again") from None
    # Not splitlines(), which also cuts at U+2028 and the like, which JSON does not escape.
    return content.removesuffix("\n").split("\n") if content else []


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    disk.write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
