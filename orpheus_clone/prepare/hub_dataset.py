"""A Hugging Face `datasets` directory (save_to_disk) as a place where recordings lie.

    directory/                  Dataset or DatasetDict with an audio column, of bytes or paths
      └─▶ cache/NAME.flac       each row's bytes as a file, written once
           └─▶ Recording        NAME, and the text column's text, if there is one

NAME is the row's id, if there is a column of that name; else the file's name in the audio column;
else `split-000007`. The audio is never decoded by `datasets` (which needs torchcodec): the bytes
are those of an audio file, and later stages read it like any other. A row that names a file of its
own on this machine is not copied.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orpheus_clone import audio, disk
from orpheus_clone.errors import RecipeError, TranscriptError
from orpheus_clone.prepare import tables
from orpheus_clone.prepare.transcripts import Recording

_MARKERS = ("dataset_dict.json", "dataset_info.json")
_ID = "id"
_MAGIC = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3", b"\xff\xfb": ".mp3"}
"""What files begin with, where the dataset does not say what they are called."""


@dataclass(frozen=True)
class _Row:
    """A row of a split, `where` it stands, and what `datasets` stores as its audio."""

    where: str
    fallback: str
    cells: Mapping[str, Any]
    audio: Mapping[str, Any]


def is_dataset(place: Path) -> bool:
    """Whether a folder is what `save_to_disk` leaves."""
    return any((place / marker).is_file() for marker in _MARKERS)


def recordings_of(
    directory: Path, cache: Path, columns: Mapping[str, str] | None = None
) -> list[Recording]:
    """Its rows as recordings, in order; `columns` maps "audio" and "text" to its columns.

    Raises TranscriptError where it cannot be opened, lacks audio or names a recording twice.
    """
    mapping = tables.checked_columns(columns)
    found: dict[str, Recording] = {}
    for row, text in _rows(directory, mapping):
        name = _name(row)
        if name in found:
            raise TranscriptError(f"{row.where}: {name!r} is there already; names must be unique")
        found[name] = Recording(name, _file(row, name, cache), text)
    return list(found.values())


def _rows(directory: Path, columns: Mapping[str, str]) -> Iterator[tuple[_Row, str | None]]:
    from datasets import Audio

    for split, dataset in _splits(directory):
        where = f"{directory}, split {split!r}" if split else str(directory)
        audio_column = _audio_column(dataset.features, where, columns)
        text_column = _text_column(dataset.features, where, columns)
        needed = [name for name in dataset.features if name in {audio_column, text_column, _ID}]
        raw = dataset.select_columns(needed).cast_column(audio_column, Audio(decode=False))
        for i, cells in enumerate(raw):
            sound = cells[audio_column] or {"bytes": None, "path": None}
            row = _Row(f"{where}, row {i}", f"{split or directory.name}-{i:06}", cells, sound)
            text = None if text_column is None else cells[text_column]
            if not isinstance(text, str | None):
                raise TranscriptError(f"{row.where}: the column {text_column!r} holds no text")
            yield row, text


def _splits(directory: Path) -> list[tuple[str, Any]]:
    from datasets import DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(str(directory))
    except (OSError, ValueError, KeyError, IndexError) as error:  # the last: without rows
        raise TranscriptError(f"{directory}: cannot be opened as a dataset: {error}") from None
    return list(loaded.items()) if isinstance(loaded, DatasetDict) else [("", loaded)]


def _audio_column(features: Mapping[str, Any], where: str, columns: Mapping[str, str]) -> str:
    from datasets import Audio

    names = [name for name, feature in features.items() if isinstance(feature, Audio)]
    if "audio" in columns:  # it may also be a text column, of paths
        return _mapped("audio", features, where, columns)
    if len(names) != 1:
        raise RecipeError(
            f"{where}: has {len(names) or 'no'} audio columns (columns: {', '.join(features)}); "
            'map one: {"audio": COLUMN}'
        )
    return names[0]


def _text_column(features: Mapping[str, Any], where: str, columns: Mapping[str, str]) -> str | None:
    if "text" in columns:
        return _mapped("text", features, where, columns)
    return tables.column("text", list(features), {})


def _mapped(role: str, features: Mapping[str, Any], where: str, columns: Mapping[str, str]) -> str:
    if columns[role] not in features:
        raise RecipeError(
            f"{where}: there is no column {columns[role]!r} (columns: {', '.join(features)})"
        )
    return columns[role]


def _name(row: _Row) -> str:
    raw = row.cells.get(_ID) or row.audio["path"]
    name = tables.name_of(str(raw)) if isinstance(raw, str | int) else ""
    return name or row.fallback


def _file(row: _Row, name: str, cache: Path) -> Path:
    """The row's own file, or its bytes as one in the cache."""
    data, path = row.audio["bytes"], row.audio["path"]
    if data is None:
        if path is None or not Path(path).is_file():
            raise TranscriptError(
                f"{row.where}: its audio has no bytes, and there is no file {path}"
            )
        return Path(path)
    written = cache / f"{name}{_suffix(row, data)}"
    if not written.is_file() or written.read_bytes() != data:
        with disk.atomic_file(written) as temporary:
            temporary.write_bytes(data)
    return written


def _suffix(row: _Row, data: bytes) -> str:
    suffix = Path(row.audio["path"] or "").suffix.lower()
    if suffix in audio.SUFFIXES:
        return suffix
    known = next((s for magic, s in _MAGIC.items() if data.startswith(magic)), None)
    if known is None:
        raise TranscriptError(f"{row.where}: it is not known what kind of audio its bytes are")
    return known
