"""Recordings and what is said in them, matched by name.

Recordings are named by their file's stem. What is said in them comes from

    tables.py        lists: LJSpeech's metadata.csv, tables with a header, JSONL, `name: text`
    cues.py          with times, for one recording: .srt, .vtt, .TextGrid
    nothing given    metadata.csv, transcripts.jsonl or transcripts.txt beside the recordings; for
                     what is not listed there, NAME.txt, NAME.srt, NAME.vtt or NAME.TextGrid beside
                     the recording

A broken line is named `file:line`. Names match exactly, however their accents are encoded (macOS
parts them); a known audio suffix is taken off. Hidden files of a folder are no recordings. Files
are UTF-8, or UTF-16 with its byte order mark, as Praat writes it.
"""

import codecs
import glob
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orpheus_clone import audio
from orpheus_clone.errors import AudioError, RecipeError, TranscriptError
from orpheus_clone.manifest import Rejected
from orpheus_clone.prepare import cues as timed
from orpheus_clone.prepare import tables
from orpheus_clone.prepare.cues import Cue as Cue
from orpheus_clone.prepare.tables import Spoken as Spoken

BESIDE = (
    *("metadata.csv", "metadata.tsv", "transcripts.csv", "transcripts.tsv"),
    *("transcripts.jsonl", "transcripts.txt"),
)
"""Looked for in the recordings' folder when no transcript file is given."""

_NOTHING = Spoken(None)


@dataclass(frozen=True)
class Recording:
    """A recording and what is said in it: a text, cues, or neither (an ASR must tell)."""

    id: str
    path: Path
    text: str | None
    cues: tuple[Cue, ...] = ()

    @property
    def whole_text(self) -> str | None:
        """All that is said in it: the text, or that of the cues; None: an ASR must tell."""
        joined = " ".join(cue.text for cue in self.cues)
        return self.text if self.text is not None else joined or None


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
    recordings: list[Path],
    transcripts: Path | None,
    *,
    columns: Mapping[str, str] | None = None,
    may_lack_text: bool = False,
) -> tuple[list[Recording], list[Rejected]]:
    """Pair recordings with transcripts; what has no partner is returned with the reason.

    `columns` maps "audio" and "text" to a table's columns. Where an ASR will hear what has no
    transcript (`may_lack_text`), that comes back as a recording without one.
    Raises TranscriptError where ids repeat, nothing matches or a transcript is broken.
    """
    by_id = _by_id(recordings)
    sources = _beside(recordings) if transcripts is None else [transcripts]
    source = " and ".join(map(str, sources))
    listed = _all_listed(sources, list(by_id), columns)
    if columns is not None and not sources:
        raise RecipeError("columns: there is no table to map; pass --transcripts FILE")
    if listed and not listed.keys() & by_id.keys():
        raise TranscriptError(
            f"{source}: no transcript matches a recording ({_some(by_id)}, …); a transcript is "
            "named like its audio file without the suffix. Pass another --transcripts FILE"
        )
    spoken = _sidecars([path for name, path in by_id.items() if name not in listed]) | listed
    if may_lack_text:
        spoken = {name: _or_nothing(said) for name, said in spoken.items()}
        spoken = dict.fromkeys(by_id, _NOTHING) | spoken
    if not spoken:
        raise TranscriptError(
            f"no transcripts: there is no {', '.join(BESIDE)} beside the recordings, and no "
            f"NAME.txt for any of them ({_some(by_id)}, …). Pass --transcripts FILE"
        )
    matched = [
        Recording(name, path, spoken[name].text, spoken[name].cues)
        for name, path in by_id.items()
        if name in spoken
    ]
    return matched, _lonely(by_id, spoken, source)


def read(path: Path, columns: Mapping[str, str] | None = None) -> dict[str, Spoken]:
    """A list of transcripts by name; TranscriptError names a broken or repeated line."""
    spoken: dict[str, Spoken] = {}
    content = _content(path)
    for where, name, said in tables.lines(content, path.suffix.lower(), str(path), columns):
        if name in spoken:
            raise TranscriptError(f"{where}: {name!r} has a transcript already; ids must be unique")
        spoken[name] = said
    if not spoken:
        raise TranscriptError(f"{path}: holds no transcripts")
    return spoken


def read_cues(path: Path) -> list[Cue]:
    """An .srt, .vtt or .TextGrid file; TranscriptError names a broken line."""
    found = timed.parse(_content(path), path.suffix, str(path))
    if not found:
        raise TranscriptError(f"{path}: holds no cue with a text")
    return found


def _all_listed(
    sources: list[Path], names: list[str], columns: Mapping[str, str] | None
) -> dict[str, Spoken]:
    """What several lists say, each of its own folder."""
    listed: dict[str, Spoken] = {}
    for source in sources:
        found = _listed(source, names, columns)
        twice = next((name for name in found if name in listed), None)
        if twice is not None:
            raise TranscriptError(
                f"{source}: {twice!r} has a transcript already in another folder's list; ids must "
                "be unique"
            )
        listed |= found
    return listed


def _listed(source: Path, names: list[str], columns: Mapping[str, str] | None) -> dict[str, Spoken]:
    if source.suffix.lower() not in timed.SUFFIXES:
        return read(source, columns)
    if columns is not None:
        raise RecipeError(f"{source}: a map of columns is for .csv and .tsv tables")
    if len(names) != 1:
        raise TranscriptError(
            f"{source}: is for one recording, and {len(names)} are given; put it beside its "
            f"recording as NAME{source.suffix}"
        )
    return {names[0]: Spoken(None, tuple(read_cues(source)))}


def _or_nothing(said: Spoken) -> Spoken:
    """An empty cell is no transcript."""
    return said if said.cues or (said.text and said.text.strip()) else _NOTHING


def _some(names: Iterable[str]) -> str:
    return ", ".join(list(names)[:3])


def _lonely(by_id: Mapping[str, Path], spoken: Mapping[str, Spoken], source: str) -> list[Rejected]:
    lonely = [
        Rejected(name, str(path), "no_transcript", "audio without transcript")
        for name, path in by_id.items()
        if name not in spoken
    ]
    return lonely + [
        Rejected(name, source, "no_audio", "transcript without audio")
        for name in spoken
        if name not in by_id
    ]


def _content(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise TranscriptError(f"{path}: no such transcript file") from None
    except OSError as error:
        raise TranscriptError(f"{path}: cannot be read: {error.strerror}") from None
    is_utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        name = "UTF-16" if is_utf16 else "UTF-8"
        raise TranscriptError(f"{path}: is not {name} text ({error}); save it as UTF-8") from None


def _expand(place: str) -> Iterator[Path]:
    path = Path(place).expanduser()
    if path.is_file():
        yield path
    elif path.is_dir():
        inside = [p for p in path.rglob("*") if _is_recording(p)]
        if not inside:
            raise AudioError(f"{path}: the folder holds no audio files")
        yield from inside
    else:
        hits = [Path(hit) for hit in glob.glob(str(path), recursive=True)]  # noqa: PTH207
        if not hits:
            raise AudioError(f"{place}: no such file or folder, and no glob that matches one")
        yield from (hit for hit in hits if hit.is_file())


def _is_recording(path: Path) -> bool:
    # "._a.wav" is what a Mac packs beside "a.wav": no audio.
    is_hidden = path.name.startswith(".")
    return path.suffix.lower() in audio.SUFFIXES and path.is_file() and not is_hidden


def _stem(path: Path) -> str:
    return unicodedata.normalize("NFC", path.stem)


def _by_id(recordings: list[Path]) -> dict[str, Path]:
    by_id: dict[str, Path] = {}
    for path in recordings:
        name = _stem(path)
        if name in by_id:
            raise TranscriptError(
                f"{path} and {by_id[name]} have the same name {name!r}, which is the "
                "clip's id; rename one"
            )
        by_id[name] = path
    return by_id


def _beside(recordings: list[Path]) -> list[Path]:
    """The list of transcripts in each recording's folder or, if it has none, the one above it."""
    found: dict[Path, None] = {}
    for folder in dict.fromkeys(path.parent for path in recordings):
        lists = [place / name for place in (folder, folder.parent) for name in BESIDE]
        found |= dict.fromkeys([path for path in lists if path.is_file()][:1])
    return list(found)


def _sidecars(recordings: list[Path]) -> dict[str, Spoken]:
    """What lies beside the recordings under their names: a text, cues, or both."""
    beside: dict[tuple[Path, str], list[Path]] = {}
    for folder in dict.fromkeys(path.parent for path in recordings):
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in {".txt", *timed.SUFFIXES} and path.is_file():
                beside.setdefault((folder, _stem(path)), []).append(path)
    found = {_stem(path): beside.get((path.parent, _stem(path)), []) for path in recordings}
    return {name: _sidecar(files) for name, files in found.items() if files}


def _sidecar(files: list[Path]) -> Spoken:
    texts = [path for path in files if path.suffix.lower() == ".txt"]
    cues = [path for path in files if path not in texts]
    for same in (texts, cues):
        if len(same) > 1:
            raise TranscriptError(f"{same[0]} and {same[1]} are of one recording; keep one")
    return Spoken(_content(texts[0]) if texts else None, tuple(read_cues(cues[0])) if cues else ())
