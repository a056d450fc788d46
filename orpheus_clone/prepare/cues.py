"""Transcripts with times: SubRip (.srt), WebVTT (.vtt) and Praat TextGrid (.TextGrid).

Read by own parsers, which are short and strict: the libraries for subtitles skip or mend a broken
line in silence, and then a clip has the wrong text.

Subtitles are written for readers. What is not spoken is taken out of them:

    <i> <b> <u> <font …> <c.red> <v John> <00:00:01.000> {\\an8}    markup
    - Yes.   >> Yes.                                            marks of a change of speaker
    JOHN: Yes.       a name in capitals at a line's start, before text that is not all capitals
    [door slams]     square brackets; round ones may be spoken and stay
    ♪ La la ♪        a cue with a note is dropped whole: singing is not speech

Other <words> stay, since they may be emotion tags. A cue with nothing left is dropped. Cues that
overlap or run backwards are an error.

Of a TextGrid one interval tier is taken: the only one, or the first of `TIERS`; intervals that are
empty or marked as silence are pauses.
"""

import html
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from orpheus_clone.errors import TranscriptError


@dataclass(frozen=True)
class Cue:
    """What is said between two times of a recording, as subtitles and TextGrids have it."""

    start_s: float
    end_s: float
    text: str


TIERS = (
    *("utterances", "utterance", "sentences", "sentence", "phrases", "phrase", "segments"),
    *("segment", "transcript", "transcription", "text", "ort", "words", "word"),
)
"""Names of a TextGrid's tier that holds what is said, the longest units first."""

ROUNDING_S = 0.001
"""Cues may overlap by this much: times are written to the millisecond."""

_SILENCES = frozenset({"", "<eps>", "<sil>", "<p:>", "sil", "sp"})
_TIMING = re.compile(
    r"\s*((?:\d+:)?\d{1,2}:\d{2}[,.]\d{3})\s+-->\s+((?:\d+:)?\d{1,2}:\d{2}[,.]\d{3})(?:\s.*)?"
)
_NOT_CUES = ("WEBVTT", "NOTE", "STYLE", "REGION", "X-TIMESTAMP-MAP")
_MARKUP = re.compile(
    r"</?(?:i|b|u|s|font|c|v|lang|ruby|rt)(?:[\s.=][^<>]*)?>|<[\d:.]+>|\{\\[^{}]*\}",
    re.IGNORECASE,
)
_NOISE = re.compile(r"\[[^\[\]]*\]")
_TURN = re.compile(r"^\s*(?:[-–—]\s+|>>+\s*)+")
_NAME = re.compile(r"\s*([^\W\d_a-z][^\Wa-z]*(?:[ .'-]+[^\Wa-z]+){0,3}):\s+(?=\S)")
_TOKEN = re.compile(
    r'"((?:[^"]|"")*)"|(?<!\S)(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?!\S)|(<exists>|<absent>)'
)


def parse(content: str, suffix: str, where: str) -> list[Cue]:
    """The cues of a file's content; TranscriptError names a broken line as `where`:line."""
    return _PARSERS[suffix.lower()](content, where)


def spoken(text: str) -> str:
    """A subtitle's text without what is not spoken (see the module docstring); one line."""
    if "♪" in text or "♫" in text:
        return ""
    bare = _NOISE.sub(" ", _MARKUP.sub("", html.unescape(_MARKUP.sub("", text))))
    lines = (_TURN.sub("", line) for line in bare.splitlines())
    return " ".join(" ".join(map(_without_name, lines)).split())


def checked(cues: Iterable[tuple[str, Cue]]) -> list[Cue]:
    """Cues with a text, in order; TranscriptError names those that run backwards or overlap.

    Each comes with where it stands, `file:line`.
    """
    kept: list[Cue] = []
    for where, cue in cues:
        if not (math.isfinite(cue.end_s) and 0 <= cue.start_s < cue.end_s):
            raise TranscriptError(
                f"{where}: the cue {cue.text[:40]!r} runs from {cue.start_s} s to {cue.end_s} s; "
                "it must end after it begins"
            )
        before = kept[-1] if kept else None
        if before and cue.start_s < before.end_s - ROUNDING_S:
            raise TranscriptError(
                f"{where}: the cue {cue.text[:40]!r} at {cue.start_s} s begins before the end of "
                f"{before.text[:40]!r} at {before.end_s} s; cues must follow each other. Leave out "
                "rolling captions, and give the text of two who speak at once to one cue"
            )
        if cue.text:
            kept.append(cue)
    return kept


def _without_name(line: str) -> str:
    """A line without the speaker's name, unless all of it is in capitals."""
    found = _NAME.match(line)
    if found is None or not found[1].isupper():
        return line
    rest = line[found.end() :]
    return line if rest == rest.upper() else rest


def _parse_subtitles(content: str, where: str) -> list[Cue]:
    return checked(_subtitles(content, where))


def _subtitles(content: str, where: str) -> Iterator[tuple[str, Cue]]:
    for first, block in _blocks(content):
        # An index (SubRip) or an identifier (WebVTT) may stand before the times.
        at = next((i for i, line in enumerate(block[:2]) if "-->" in line), None)
        if at is None and block[0].startswith(_NOT_CUES):
            continue
        timing = None if at is None else _TIMING.fullmatch(block[at])
        if at is None or timing is None:
            raise TranscriptError(
                f"{where}:{first + (at or 0)}: expected a cue's times, as in "
                f"00:00:01.000 --> 00:00:02.500, not {block[at or 0][:60]!r}"
            )
        start_s, end_s = _seconds(timing[1]), _seconds(timing[2])
        yield f"{where}:{first + at}", Cue(start_s, end_s, spoken("\n".join(block[at + 1 :])))


def _blocks(content: str) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines that are not blank, each with the number of its first."""
    block: list[str] = []
    for number, raw in enumerate([*content.split("\n"), ""], start=1):
        line = raw.rstrip("\r")
        if line.strip():
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []


def _seconds(clock: str) -> float:
    """[hours:]minutes:seconds with milliseconds."""
    seconds = 0.0
    for part in clock.replace(",", ".").split(":"):
        seconds = 60 * seconds + float(part)
    return round(seconds, 3)


class _Tokens:
    """A TextGrid's strings, numbers and flags in order.

    Of the format, only these matter: everything else is a comment for readers, so that the long
    form and the short one are the same to a parser (Praat's manual, "TextGrid file formats").
    """

    def __init__(self, content: str, where: str) -> None:
        self._content = content
        self._where = where
        self._found = _TOKEN.finditer(content)
        self._at = 0

    def string(self) -> str:
        return self._next(1, "a text in quotes").replace('""', '"')

    def number(self) -> float:
        return float(self._next(2, "a number"))

    def flag(self) -> str:
        return self._next(3, "<exists>")

    def place(self) -> str:
        """`file:line` of what was read last."""
        return f"{self._where}:{self._content.count(chr(10), 0, self._at) + 1}"

    def _next(self, group: int, expected: str) -> str:
        token = next(self._found, None)
        self._at = token.start() if token else len(self._content.rstrip())
        text = token[group] if token else None
        if text is None:
            found = token[0][:40] if token else "the end of the file"
            raise TranscriptError(f"{self.place()}: expected {expected}, not {found}")
        return text


@dataclass(frozen=True)
class _Tier:
    name: str
    intervals: tuple[tuple[str, Cue], ...]


def _parse_textgrid(content: str, where: str) -> list[Cue]:
    tokens = _Tokens(content, where)
    if [tokens.string(), tokens.string()] != ["ooTextFile", "TextGrid"]:
        raise TranscriptError(f"{where}:1: is not a TextGrid in text form; save it as one in Praat")
    tokens.number(), tokens.number()
    tiers = []
    if tokens.flag() == "<exists>":
        tiers = [_tier(tokens) for _ in range(int(tokens.number()))]
    return checked(_chosen([t for t in tiers if t.intervals], where).intervals)


def _tier(tokens: _Tokens) -> _Tier:
    kind = tokens.string()
    if kind not in ("IntervalTier", "TextTier"):
        raise TranscriptError(f"{tokens.place()}: expected a tier, not {kind!r}")
    name = tokens.string()
    tokens.number(), tokens.number()
    intervals = []
    for _ in range(int(tokens.number())):
        if kind == "TextTier":  # points have no length: nothing is said in them
            tokens.number(), tokens.string()
            continue
        start_s, end_s, text = tokens.number(), tokens.number(), " ".join(tokens.string().split())
        cue = Cue(start_s, end_s, "" if text.lower() in _SILENCES else text)
        intervals.append((tokens.place(), cue))
    return _Tier(name, tuple(intervals))


def _chosen(tiers: Sequence[_Tier], where: str) -> _Tier:
    """The tier that holds what is said."""
    if len(tiers) == 1:
        return tiers[0]
    # An aligner's tiers are named "speaker - words".
    named = {tier.name.lower().rpartition(" - ")[2].strip(): tier for tier in reversed(tiers)}
    for name in TIERS:
        if name in named:
            return named[name]
    names = ", ".join(tier.name for tier in tiers) or "none with intervals"
    raise TranscriptError(
        f"{where}: no tier is known to hold what is said (tiers: {names}); name it {TIERS[2]!r}"
    )


_PARSERS: dict[str, Callable[[str, str], list[Cue]]] = {
    ".srt": _parse_subtitles,
    ".vtt": _parse_subtitles,
    ".textgrid": _parse_textgrid,
}
SUFFIXES = frozenset(_PARSERS)
"""Suffixes, in lower case, of the files that `parse` reads."""
