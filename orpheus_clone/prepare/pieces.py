"""What may become a clip: a short recording as it is, a long one cut in its pauses.

The text of a piece is what its transcript says; where there is none, what was heard.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orpheus_clone.asr import Word
from orpheus_clone.manifest import Kind, Rejected
from orpheus_clone.prepare import segment
from orpheus_clone.prepare.memory import key_of
from orpheus_clone.prepare.segment import Span
from orpheus_clone.prepare.source import Source
from orpheus_clone.recipe import Prepare


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
) -> tuple[list[Piece], list[Rejected]]:
    """The pieces of every source, and those that nobody knows the text of."""
    kept: list[Piece] = []
    rejected: list[Rejected] = []
    for source in sources:
        heard = None if words is None else words[source.id]
        for name, span, text in _cuts(source, heard, settings):
            said = None if heard is None else _within(heard, span)
            spoken = text or said
            if spoken:
                kept.append(Piece(name, source, span, spoken, said, is_transcribed=text is None))
            else:
                rejected.append(_textless(name, source, span, said))
    return kept, rejected


def _cuts(
    source: Source, words: tuple[Word, ...] | None, settings: Prepare
) -> list[tuple[str, Span, str | None]]:
    """(id, span, given text) of each piece of a source."""
    text = source.recording.text
    cannot_be_cut = text is not None and words is None
    if source.seconds <= settings.cut_max_s or cannot_be_cut:
        return [(source.id, Span(0.0, source.seconds), source.recording.whole_text)]
    cuts = segment.clips(
        source.copy,
        source.speech(),
        shortest_s=settings.cut_min_s,
        longest_s=settings.cut_max_s,
        words=words,
        text=text,
        cues=source.cues,
    )
    return [(f"{source.id}-{n:04}", cut.span, cut.text) for n, cut in enumerate(cuts, start=1)]


def _within(words: Sequence[Word], span: Span) -> str:
    inside = [w.text for w in words if span.start_s <= (w.start_s + w.end_s) / 2 < span.end_s]
    return " ".join(inside)


def _textless(name: str, source: Source, span: Span, said: str | None) -> Rejected:
    seconds = span.end_s - span.start_s
    where = str(source.recording.path)
    if said is None:
        reason = (
            "nobody knows what is said in it: add a transcript, or let an ASR listen (prepare.asr)"
        )
        return Rejected(name, where, "no_transcript", reason, seconds)
    return Rejected(name, where, "no_speech", "no words were heard in it", seconds)
