"""Lists of transcripts with one recording a line: tables, JSONL and `name: text`.

    a|Hello.  a|Hi, U.|Hi, you.      LJSpeech: no header; the last column is taken
    filename,text                    a table with a header, delimited by , ; tab or |
    {"id": "a", "text": "Hello."}    JSONL; or "cues": [[0.5, 1.9, "Hello."], …] for timed texts
    a: Hello.                        everything else

A table's columns are found by their names, or told by a map: {"audio": "clip", "text": "words"}.
In a table with commas or semicolons quotes are as in RFC 4180; with tabs or bars, which are seldom
written with quotes, only a cell that is in quotes as a whole loses them.
"""

import csv
import difflib
import io
import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orpheus_clone import audio
from orpheus_clone.errors import RecipeError, TranscriptError
from orpheus_clone.prepare import cues
from orpheus_clone.prepare.cues import Cue

KNOWN: Mapping[str, tuple[str, ...]] = {
    "audio": ("audio", "file_name", "filename", "file", "path", "id"),
    "text": (
        *("normalized_text", "normalised_text", "text", "sentence"),
        *("transcript", "transcription"),
    ),
}
"""Names of columns that need no map, the best first."""

DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Spoken:
    """What is said in a recording: a text, cues, or both."""

    text: str | None
    cues: tuple[Cue, ...] = ()


Line = tuple[str, str, Spoken]
"""Where it stands (`file:line`), the recording's name and what is said in it."""


def lines(content: str, suffix: str, where: str, columns: Mapping[str, str] | None) -> list[Line]:
    """A list's lines in order, by the file's `suffix`; TranscriptError names a broken one."""
    if columns is not None and suffix not in (".csv", ".tsv"):
        raise RecipeError(f"{where}: a map of columns is for .csv and .tsv tables")
    if suffix in (".csv", ".tsv"):
        return list(_table(content, where, columns))
    parse = _parse_json if suffix == ".jsonl" else _parse_colon
    return [(place, *parse(line, place)) for place, line in _numbered(content, where)]


def checked_columns(columns: Mapping[str, str] | None) -> Mapping[str, str]:
    """A map of columns; RecipeError where it maps something that no table has."""
    unknown = next((key for key in columns or {} if key not in KNOWN), None)
    if unknown is not None:
        raise RecipeError(f"columns: {unknown!r} is not one of {', '.join(KNOWN)}")
    return columns or {}


def column(role: str, names: list[str], columns: Mapping[str, str]) -> str | None:
    """The one of `names` that is mapped or known to hold `role`, "audio" or "text"."""
    if role in columns:
        return columns[role] if columns[role] in names else None
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[known] for known in KNOWN[role] if known in lower), None)


def name_of(raw: str) -> str:
    """A clip's id from a file name or an id."""
    name = Path(unicodedata.normalize("NFC", raw.strip()))
    return name.stem if name.suffix.lower() in audio.SUFFIXES else name.name


def _numbered(content: str, where: str) -> Iterator[tuple[str, str]]:
    # Not splitlines(), which also cuts inside a text, at U+2028 and the like.
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            yield f"{where}:{number}", line.removesuffix("\r")


def _table(content: str, where: str, columns: Mapping[str, str] | None) -> Iterator[Line]:
    mapping = checked_columns(columns)
    first = next(_numbered(content, where), None)
    if first is None:
        return
    delimiter = next((d for d in DELIMITERS if _header(first[1], d, mapping)), None)
    if delimiter is not None:
        yield from _rows(content, where, delimiter, mapping)
    elif mapping:
        raise TranscriptError(f"{first[0]}: {_no_such_column(first[1], mapping)}")
    else:
        for place, line in _numbered(content, where):
            yield (place, *_parse_pipe(line, place))


def _header(line: str, delimiter: str, columns: Mapping[str, str]) -> tuple[str, str] | None:
    """The columns of audio and text, if this line is a header that has them."""
    names = _bare_cells(line, delimiter)
    found = column("audio", names, columns), column("text", names, columns)
    return None if None in found or found[0] == found[1] else (str(found[0]), str(found[1]))


def _no_such_column(line: str, columns: Mapping[str, str]) -> str:
    names = max((_bare_cells(line, d) for d in DELIMITERS), key=len)
    missing = next((c for c in columns.values() if c not in names), None)
    if missing is None:
        role = next(role for role in KNOWN if column(role, names, columns) is None)
        return f"no column is known to hold the {role} (columns: {', '.join(names)}); map it too"
    near = difflib.get_close_matches(missing, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"there is no column {missing!r} (columns: {', '.join(names)}){hint}"


def _rows(content: str, where: str, delimiter: str, columns: Mapping[str, str]) -> Iterator[Line]:
    cells = (
        _quoted(content, where, delimiter)
        if delimiter in ",;"
        else _bare(content, where, delimiter)
    )
    place, names = next(cells)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TranscriptError(f"{place}: two columns are named {twice!r}; rename one")
    audio_column, text_column = column("audio", names, columns), column("text", names, columns)
    for place, row in cells:
        if len(row) != len(names):
            raise TranscriptError(
                f"{place}: has {len(row)} cells, and the header has {len(names)}; put a cell that "
                "holds the delimiter in quotes"
            )
        by_name = dict(zip(names, row, strict=True))
        name = name_of(by_name[str(audio_column)])
        if not name:
            raise TranscriptError(f"{place}: the column {audio_column!r} is empty")
        yield place, name, Spoken(by_name[str(text_column)].strip())


def _quoted(content: str, where: str, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    """Rows of RFC 4180, whose cells may hold line breaks."""
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    while True:
        place = f"{where}:{reader.line_num + 1}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise TranscriptError(
                f"{place}: {error}; write a quote in a quoted cell twice"
            ) from None
        if row is None:
            return
        if any(cell.strip() for cell in row):
            yield place, [cell.strip() for cell in row]


def _bare(content: str, where: str, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    for place, line in _numbered(content, where):
        yield place, _bare_cells(line, delimiter)


def _bare_cells(line: str, delimiter: str) -> list[str]:
    return [_unquoted(cell.strip()) for cell in line.strip("\r\n").split(delimiter)]


def _unquoted(cell: str) -> str:
    inside = cell[1:-1].replace('""', "")
    is_quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inside
    return cell[1:-1].replace('""', '"') if is_quoted else cell


def _parse_pipe(line: str, where: str) -> tuple[str, Spoken]:
    cells = line.split("|")
    if len(cells) not in (2, 3):
        raise TranscriptError(
            f"{where}: expected name|text or name|raw|normalised, as in LJSpeech's metadata.csv, "
            "or in the first line a header whose columns are known or mapped"
        )
    return name_of(cells[0]), Spoken(cells[-1].strip() or cells[1].strip())


def _parse_json(line: str, where: str) -> tuple[str, Spoken]:
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise TranscriptError(f"{where}: is not JSON ({error})") from None
    if not isinstance(data, dict):
        raise TranscriptError(f"{where}: is not a JSON object")
    raw = data.get("id") or data.get("audio") or data.get("file")
    text = data.get("text")
    timed = data.get("cues")
    if not isinstance(raw, str) or not isinstance(text, str if timed is None else str | None):
        raise TranscriptError(f'{where}: expected "text" and one of "id", "audio", "file"')
    return name_of(raw), Spoken(text, () if timed is None else _json_cues(timed, where))


def _json_cues(timed: object, where: str) -> tuple[Cue, ...]:
    entries = timed if isinstance(timed, list) else [timed]
    found = []
    for entry in entries:
        match entry:
            case [int() | float() as start_s, int() | float() as end_s, str() as text]:
                found.append((where, Cue(float(start_s), float(end_s), text.strip())))
            case _:
                raise TranscriptError(
                    f'{where}: expected "cues": [[start, end, text], …] in seconds, not {entry!r}'
                )
    return tuple(cues.checked(found))


def _parse_colon(line: str, where: str) -> tuple[str, Spoken]:
    name, colon, text = line.partition(":")
    if not colon:
        raise TranscriptError(f"{where}: expected `name: text`")
    return name_of(name), Spoken(text.strip())
