"""An utterance in numbers: a row of report.json, and what figures and their intervals draw on.

None is "nobody speaks in it", or "the judge of it is missing"; `measures.py` knows which.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from orpheus_clone.eval.speed import Utterance
from orpheus_clone.eval.sweep import speech_heard_ms
from orpheus_clone.listening.hear import Hearing, Spoken


@dataclass(frozen=True)
class Line:
    """One utterance; milliseconds of waiting are from the request."""

    text: str
    seconds: float
    tokens: int
    finish: str | None
    rate: float
    """Tokens a second."""
    first_audio_ms: float
    first_speech_ms: float | None
    underruns: int
    head_ms: float | None
    """Silence before the speech, dropped or not."""
    tail_ms: float | None
    pace: float | None
    heard: str | None
    words: int | None
    word_edits: int | None
    letters: int | None
    letter_edits: int | None
    similarity: float | None
    mos: float | None
    pitch_hz: float | None


def spoken(utterance: Utterance) -> Spoken:
    """What judges hear of an utterance."""
    return Spoken(
        utterance.text, utterance.samples, utterance.finish or "length", utterance.dropped_ms
    )


def lines_of(utterances: Sequence[Utterance], hearings: Sequence[Hearing]) -> list[Line]:
    """Each utterance with what was heard of it."""
    return [_line(one, heard) for one, heard in zip(utterances, hearings, strict=True)]


def _line(utterance: Utterance, hearing: Hearing) -> Line:
    first_speech_ms = None if hearing.speech_s is None else speech_heard_ms(utterance)
    counts = hearing.difference
    return Line(
        text=utterance.text,
        seconds=round(hearing.seconds, 3),
        tokens=utterance.tokens,
        finish=utterance.finish,
        rate=round(utterance.rate, 2),
        first_audio_ms=round(utterance.first_audio_ms, 1),
        first_speech_ms=_rounded(first_speech_ms, 1),
        underruns=utterance.played().underruns,
        head_ms=_rounded(hearing.head_ms, 1),
        tail_ms=_rounded(hearing.tail_ms, 1),
        pace=_rounded(hearing.pace, 3),
        heard=hearing.heard,
        words=counts.words if counts else None,
        word_edits=counts.word_edits if counts else None,
        letters=counts.letters if counts else None,
        letter_edits=counts.letter_edits if counts else None,
        similarity=_rounded(hearing.similarity, 4),
        mos=_rounded(hearing.mos, 3),
        pitch_hz=hearing.pitch_hz,
    )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
