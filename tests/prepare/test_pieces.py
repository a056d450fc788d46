"""Which stretches of which recordings become pieces, and with which text."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from orpheus_clone.asr import Word
from orpheus_clone.errors import DataError
from orpheus_clone.prepare import segment
from orpheus_clone.prepare.pieces import pieces
from orpheus_clone.prepare.segment import Cut, Span
from orpheus_clone.prepare.source import Source
from orpheus_clone.prepare.transcripts import Cue, Recording
from orpheus_clone.recipe import Prepare

SETTINGS = Prepare()
WORDS = (Word("Good", 0.1, 0.4, 0.9), Word("morning.", 0.5, 1.0, 0.9))


@dataclass
class Seen:
    """What `segment.clips` was asked, which answers with two cuts."""

    asked: list[dict[str, object]] = field(default_factory=list)
    lost_s: float = 0.0

    def clips(self, copy: Path, probabilities: object, **more: object) -> list[Cut]:
        self.asked.append(more)
        return [Cut(Span(0.0, 0.45), None), Cut(Span(0.45, 2.0), "Morning!")]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    seen = Seen()
    monkeypatch.setattr(segment, "clips", seen.clips)
    monkeypatch.setattr(segment, "lost_s", lambda *_: seen.lost_s)
    monkeypatch.setattr(Source, "speech", lambda _: np.zeros(1, np.float32))
    return seen


def source(seconds: float, text: str | None = None, cues: tuple[Cue, ...] = ()) -> Source:
    return Source(Recording("a", Path("a.wav"), text, cues), "d" * 64, Path("copy.flac"), seconds)


def test_a_short_recording_is_one_piece_with_its_text(seen: Seen) -> None:
    (piece,), rejected, _ = pieces([source(20.0, "Hello.")], {"a": WORDS}, SETTINGS, "en")
    assert (piece.id, piece.span, piece.text) == ("a", Span(0.0, 20.0), "Hello.")
    assert (piece.heard, piece.is_transcribed) == ("Good morning.", False)
    assert piece.content == "d" * 64
    assert not rejected
    assert not seen.asked


def test_without_a_text_what_was_heard_is_the_text(seen: Seen) -> None:
    (piece,), _, _ = pieces([source(3.0)], {"a": WORDS}, SETTINGS, "en")
    assert (piece.text, piece.heard, piece.is_transcribed) == ("Good morning.",) * 2 + (True,)


def test_a_long_recording_is_cut_and_each_cut_has_its_words(seen: Seen) -> None:
    (first, second), rejected, _ = pieces(
        [source(20.1, "All of it.")], {"a": WORDS}, SETTINGS, "en"
    )
    assert (first.id, first.text, first.heard, first.is_transcribed) == (
        "a-0001", "Good", "Good", True,
    )  # fmt: skip
    assert (second.id, second.text, second.heard, second.is_transcribed) == (
        "a-0002", "Morning!", "morning.", False,
    )  # fmt: skip
    assert len({first.content, second.content, "d" * 64}) == 3
    assert seen.asked[0]["text"] == "All of it."
    assert not rejected


def test_a_long_recording_with_cues_is_cut_by_them(seen: Seen) -> None:
    cues = (Cue(0.0, 1.0, "Good"), Cue(1.0, 2.0, "morning."))
    assert len(pieces([source(20.1, None, cues)], None, SETTINGS, "en")[0]) == 1
    assert seen.asked[0]["cues"] == cues


def test_a_short_recording_with_cues_is_one_piece_with_all_they_say(seen: Seen) -> None:
    cues = (Cue(0.0, 1.0, "Good"), Cue(1.0, 2.0, "morning."))
    (piece,), _, _ = pieces([source(3.0, None, cues)], None, SETTINGS, "en")
    assert (piece.text, piece.span) == ("Good morning.", Span(0.0, 3.0))
    assert not seen.asked


def test_a_long_recording_with_a_text_and_nobody_to_listen_stays_whole(seen: Seen) -> None:
    (piece,), _, _ = pieces([source(23.0, "All of it.")], None, SETTINGS, "en")
    assert (piece.id, piece.heard) == ("a", None)
    assert not seen.asked


def test_what_nobody_knows_the_text_of_is_rejected(seen: Seen) -> None:
    _, (rejected,), _ = pieces([source(3.0)], None, SETTINGS, "en")
    assert (rejected.kind, rejected.seconds) == ("no_transcript", 3.0)
    _, (silent,), _ = pieces([source(3.0)], {"a": ()}, SETTINGS, "en")
    assert (silent.kind, silent.reason) == ("no_speech", "no words were heard in it")


def test_speech_that_is_in_no_clip_is_told_where_it_is_much(seen: Seen) -> None:
    # The two cuts hold 2 s; 0.1 s beside them are 4.8 % of the speech, 0.11 s 5.2 %.
    seen.lost_s = 0.1
    assert pieces([source(30.0)], {"a": WORDS}, SETTINGS, "en")[2] == []
    seen.lost_s = 0.11
    (note,) = pieces([source(30.0)], {"a": WORDS}, SETTINGS, "en")[2]
    assert note.startswith("a: 0 s of speech are in no clip: ")


def test_a_long_recording_of_nothing_is_rejected(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "clips", lambda *_, **__: [])
    kept, (rejected,), _ = pieces([source(180.0)], {"a": ()}, SETTINGS, "en")
    assert not kept
    assert (rejected.id, rejected.kind, rejected.seconds) == ("a", "no_speech", 180.0)


def test_hours_that_cannot_be_cut_are_rejected_before_they_are_measured(seen: Seen) -> None:
    kept, (rejected,), _ = pieces([source(101.0, "All of it.")], None, SETTINGS, "en")
    assert not kept
    assert (rejected.kind, rejected.seconds) == ("too_long", 101.0)
    assert "let an ASR listen" in rejected.reason
    assert len(pieces([source(99.0, "All of it.")], None, SETTINGS, "en")[0]) == 1


def test_a_long_recording_with_a_text_and_cues_is_cut_by_them(seen: Seen) -> None:
    cues = (Cue(0.0, 1.0, "Good"), Cue(1.0, 2.0, "morning."))
    pieces([source(20.1, "Good morning.", cues)], None, SETTINGS, "en")
    assert seen.asked[0]["cues"] == cues


def test_a_cut_that_is_named_like_a_recording_is_refused(seen: Seen) -> None:
    short = Source(Recording("a-0001", Path("a-0001.wav"), "Hi."), "e" * 64, Path("copy.flac"), 3.0)
    words = {"a": WORDS, "a-0001": WORDS}
    with pytest.raises(DataError, match=r"a\.wav and a-0001\.wav are both named 'a-0001'"):
        pieces([source(30.0), short], words, SETTINGS, "en")
