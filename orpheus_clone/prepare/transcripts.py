"""Recordings and what is said in them, matched by name.

Recordings are named by their file's stem. Transcripts come as

    metadata.csv     LJSpeech: `name|text` or `name|raw|normalised` (the last column is taken)
    *.jsonl          {"id" or "audio" or "file": …, "text": …}
    *.txt            `name: text` lines
    nothing given    metadata.csv, transcripts.txt or transcripts.jsonl beside the recordings,
                     else a sidecar NAME.txt for each

A broken line is named `file:line`. Names match exactly; a known audio suffix is taken off.
"""

import glob
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orpheus_clone import audio
from orpheus_clone.errors import AudioError, TranscriptError
from orpheus_clone.manifest import Rejected

BESIDE = ("metadata.csv", "transcripts.jsonl", "transcripts.txt")
"""Looked for in the recordings' folder when no transcript file is given."""


@dataclass(frozen=True)
class Cue:
    """What is said between two times of a recording, as subtitles and TextGrids have it."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Recording:
    """A recording and what is said in it: a text, cues, or neither (an ASR must tell)."""

    id: str
    path: Path
    text: str | None
    cues: tuple[Cue, ...] = ()


def find_recordings(places: Iterable[str]) -> list[Path]:
    """Files, folders (searched) and globs to a sorted list of audio files, each once."""
    found: dict[Path, None] = {}
    for place in places:
        if "://" in place:
            raise AudioError(f"{place}: is a URL; download it first, then pass the file")
        for path in _expand(place):
            found[path] = None
    return sorted(found)


def match(
    recordings: list[Path], transcripts: Path | None
) -> tuple[list[Recording], list[Rejected]]:
    """Pair recordings with transcripts; what has no partner is returned with the reason.

    Raises TranscriptError where ids repeat or nothing matches.
    """
    by_id = _by_id(recordings)
    source = transcripts or _beside(recordings)
    spoken = _sidecars(recordings) if source is None else read(source)
    matched = [Recording(name, by_id[name], spoken[name]) for name in by_id if name in spoken]
    if not matched:
        names = ", ".join(list(by_id)[:3])
        if source is None:
            raise TranscriptError(
                f"no transcripts: there is no {', '.join(BESIDE)} beside the recordings, and no "
                f"NAME.txt for any of them ({names}, …). Pass --transcripts FILE"
            )
        raise TranscriptError(
            f"{source}: no transcript matches a recording ({names}, …); a transcript is named like "
            "its audio file without the suffix. Pass another --transcripts FILE"
        )
    lonely = [
        Rejected(name, str(path), "audio without transcript")
        for name, path in by_id.items()
        if name not in spoken
    ]
    lonely += [
        Rejected(name, str(source), "transcript without audio")
        for name in spoken
        if name not in by_id
    ]
    return matched, lonely


def read(path: Path) -> dict[str, str]:
    """A transcript file as {name: text}; TranscriptError names a broken or repeated line."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise TranscriptError(f"{path}: no such transcript file") from None
    except OSError as error:
        raise TranscriptError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TranscriptError(f"{path}: is not UTF-8 text ({error}); save it as UTF-8") from None
    parse = _PARSERS.get(path.suffix.lower(), _parse_colon)
    spoken: dict[str, str] = {}
    # Not splitlines(), which also cuts inside a text, at U+2028 and the like.
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        name, text = parse(line, where)
        if name in spoken:
            raise TranscriptError(f"{where}: {name!r} has a transcript already; ids must be unique")
        spoken[name] = text
    if not spoken:
        raise TranscriptError(f"{path}: holds no transcripts")
    return spoken


def _expand(place: str) -> Iterator[Path]:
    path = Path(place).expanduser()
    if path.is_file():
        yield path
    elif path.is_dir():
        inside = [p for p in path.rglob("*") if p.suffix.lower() in audio.SUFFIXES and p.is_file()]
        if not inside:
            raise AudioError(f"{path}: the folder holds no audio files")
        yield from inside
    else:
        hits = [Path(hit) for hit in glob.glob(str(path), recursive=True)]  # noqa: PTH207
        if not hits:
            raise AudioError(f"{place}: no such file or folder, and no glob that matches one")
        yield from (hit for hit in hits if hit.is_file())


def _by_id(recordings: list[Path]) -> dict[str, Path]:
    by_id: dict[str, Path] = {}
    for path in recordings:
        if path.stem in by_id:
            raise TranscriptError(
                f"{path} and {by_id[path.stem]} have the same name {path.stem!r}, which is the "
                "clip's id; rename one"
            )
        by_id[path.stem] = path
    return by_id


def _beside(recordings: list[Path]) -> Path | None:
    """A transcript file in the recordings' folder or the one above it."""
    for folder in dict.fromkeys(
        d for path in recordings for d in (path.parent, path.parent.parent)
    ):
        for name in BESIDE:
            if (folder / name).is_file():
                return folder / name
    return None


def _sidecars(recordings: list[Path]) -> dict[str, str]:
    spoken = {}
    for path in recordings:
        sidecar = path.with_suffix(".txt")
        if not sidecar.is_file():
            continue
        try:
            spoken[path.stem] = sidecar.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise TranscriptError(
                f"{sidecar}: is not UTF-8 text ({error}); save it as UTF-8"
            ) from None
    return spoken


def _name(raw: str) -> str:
    """A clip's id from a file name or an id."""
    name = Path(raw.strip())
    return name.stem if name.suffix.lower() in audio.SUFFIXES else name.name


def _parse_pipe(line: str, where: str) -> tuple[str, str]:
    cells = line.split("|")
    if len(cells) not in (2, 3):
        raise TranscriptError(
            f"{where}: expected name|text or name|raw|normalised, as in LJSpeech's metadata.csv"
        )
    return _name(cells[0]), cells[-1].strip() or cells[1].strip()


def _parse_json(line: str, where: str) -> tuple[str, str]:
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise TranscriptError(f"{where}: is not JSON ({error})") from None
    if not isinstance(data, dict):
        raise TranscriptError(f"{where}: is not a JSON object")
    raw = data.get("id") or data.get("audio") or data.get("file")
    text = data.get("text")
    if not isinstance(raw, str) or not isinstance(text, str):
        raise TranscriptError(f'{where}: expected "text" and one of "id", "audio", "file"')
    return _name(raw), text


def _parse_colon(line: str, where: str) -> tuple[str, str]:
    name, colon, text = line.partition(":")
    if not colon:
        raise TranscriptError(f"{where}: expected `name: text`")
    return _name(name), text.strip()


_PARSERS: dict[str, Callable[[str, str], tuple[str, str]]] = {
    ".csv": _parse_pipe,
    ".jsonl": _parse_json,
    ".txt": _parse_colon,
}
