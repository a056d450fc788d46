"""What may become a clip: a short recording as it is, a long one cut in its pauses.

The text of a piece is what its transcript says; where there is none, what was heard.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orpheus_clone.asr import Word
from orpheus_clone.errors import DataError
from orpheus_clone.manifest import Kind, Rejected
from orpheus_clone.prepare import segment
from orpheus_clone.prepare.memory import key_of
from orpheus_clone.prepare.segment import Cut, Span
from orpheus_clone.prepare.source import Source
from orpheus_clone.recipe import Prepare
from orpheus_clone.tokens import FRAME, FRAME_SAMPLES, SAMPLE_RATE

MOST_OF_A_ROW = 4
"""What cannot be cut is not measured if it is so many times as long as a row: hours would not fit
into memory, and so much silence around the speech is not to be expected."""
LOST_SHARE = 0.05
"""Of a recording's speech: if more of it is in no clip, that is told."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a recording, its text, and what was heard in it (None: nobody listened)."""

    id: str
    source: Source
    span: Span
    text: str
    heard: str | None
    is_transcribed: bool
    """The text is what was heard, so the two cannot be compared."""

    @property
    def content(self) -> str:
        """Digest of the samples that it is cut from."""
        if self.span == Span(0.0, self.source.seconds):
            return self.source.digest
        return key_of(self.source.digest, self.span.start_s, self.span.end_s)

    def rejected(self, kind: Kind, reason: str) -> Rejected:
        """This piece as one that is not kept."""
        seconds = round(self.span.end_s - self.span.start_s, 3)
        return Rejected(self.id, str(self.source.recording.path), kind, reason, seconds)


def pieces(
    sources: Sequence[Source],
    words: Mapping[str, tuple[Word, ...]] | None,
    settings: Prepare,
    language: str,
) -> tuple[list[Piece], list[Rejected], list[str]]:
    """The pieces of every source, those that nobody knows the text of, and what was left out.

    DataError where a cut of one is named like another.
    """
    kept: list[Piece] = []
    rejected: list[Rejected] = []
    notes: list[str] = []
    for source in sources:
        heard = None if words is None else words[source.id]
        cuts = (
            None
            if _stays_whole(source, heard, settings)
            else _cut(source, heard, settings, language)
        )
        if cuts is not None and not cuts:
            rejected.append(_uncut(source))
        if cuts is None and source.seconds > MOST_OF_A_ROW * _row_s(settings):
            rejected.append(_too_long(source))
            continue
        for name, span, text in _named(source, cuts):
            said = None if heard is None else _within(heard, None if cuts is None else span)
            spoken = text or said
            if spoken:
                kept.append(Piece(name, source, span, spoken, said, is_transcribed=not text))
            else:
                rejected.append(_textless(name, source, span, said))
        notes += _left_out(source, cuts)
    _check_names(kept)
    return kept, rejected, notes


def _check_names(kept: Sequence[Piece]) -> None:
    seen: dict[str, Piece] = {}
    for piece in kept:
        other = seen.setdefault(piece.id, piece)
        if other is not piece:
            one, two = other.source.recording.path, piece.source.recording.path
            raise DataError(f"clips of {one} and {two} are both named {piece.id!r}; rename one")


def _stays_whole(source: Source, words: tuple[Word, ...] | None, settings: Prepare) -> bool:
    """Short enough, or nobody can tell where in it which part of its text is."""
    has_text_alone = source.recording.text is not None and not source.cues
    cannot_be_cut = has_text_alone and words is None
    return source.seconds <= settings.cut_max_s or cannot_be_cut


def _cut(
    source: Source, words: tuple[Word, ...] | None, settings: Prepare, language: str
) -> list[Cut]:
    return segment.clips(
        source.copy,
        source.speech(),
        shortest_s=settings.cut_min_s,
        longest_s=settings.cut_max_s,
        words=words,
        text=source.recording.text,
        cues=source.cues,
        language=language,
    )


def _named(source: Source, cuts: list[Cut] | None) -> list[tuple[str, Span, str | None]]:
    """(id, span, given text) of each piece of a source."""
    if cuts is None:
        return [(source.id, Span(0.0, source.seconds), source.recording.whole_text)]
    return [(f"{source.id}-{n:04}", cut.span, cut.text) for n, cut in enumerate(cuts, start=1)]


def _left_out(source: Source, cuts: list[Cut] | None) -> list[str]:
    if cuts is None:
        return []
    probabilities = source.speech()
    lost_s = segment.lost_s(probabilities, cuts)
    spoken_s = lost_s + sum(cut.span.end_s - cut.span.start_s for cut in cuts)
    if lost_s <= LOST_SHARE * spoken_s:
        return []
    return [
        f"{source.id}: {lost_s:.0f} s of speech are in no clip: no cue tells them, or they have no "
        "pause to be cut in"
    ]


def _within(words: Sequence[Word], span: Span | None) -> str:
    """The words that have their middle in a span; all of them of the whole recording."""
    if span is None:
        return " ".join(word.text for word in words)
    inside = [w.text for w in words if span.start_s <= (w.start_s + w.end_s) / 2 < span.end_s]
    return " ".join(inside)


def _row_s(settings: Prepare) -> float:
    """Seconds of sound in the longest row."""
    return settings.max_tokens / FRAME * FRAME_SAMPLES / SAMPLE_RATE


def _too_long(source: Source) -> Rejected:
    reason = (
        f"{source.seconds:.0f} s with a text without times: let an ASR listen (judges.asr), so "
        "that it can be cut, or give a timed transcript"
    )
    return Rejected(
        source.id, str(source.recording.path), "too_long", reason, round(source.seconds, 3)
    )


def _uncut(source: Source) -> Rejected:
    reason = "nobody speaks in it, or without a pause to be cut in"
    return Rejected(
        source.id, str(source.recording.path), "no_speech", reason, round(source.seconds, 3)
    )


def _textless(name: str, source: Source, span: Span, said: str | None) -> Rejected:
    seconds = span.end_s - span.start_s
    where = str(source.recording.path)
    if said is None:
        reason = (
            "nobody knows what is said in it: add a transcript, or let an ASR listen (judges.asr)"
        )
        return Rejected(name, where, "no_transcript", reason, seconds)
    return Rejected(name, where, "no_speech", "no words were heard in it", seconds)
