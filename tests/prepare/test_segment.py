"""The long recording's sentences are known; a cut inside one would be inside a word or near it."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus_clone import audio, silence
from orpheus_clone.asr import Word
from orpheus_clone.prepare import segment
from orpheus_clone.prepare.cues import Cue
from orpheus_clone.prepare.decode import read_span
from orpheus_clone.prepare.segment import SPEECH_HOP_S, Cut, Probabilities, Span
from orpheus_clone.tokens import SAMPLE_RATE
from tests.prepare.long_recording import Long, recorded
from tests.signals import noise, tone

PAUSES_S = [0.3, 0.8, 0.15, 1.5, 0.5, 7.0]
Clips = Callable[..., list[Cut]]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Long:
    return recorded(tmp_path_factory.mktemp("long") / "long.flac", range(1, 19), PAUSES_S)


@pytest.fixture(scope="module")
def heard(long: Long) -> Probabilities:
    return segment.speech(long.path)


@pytest.fixture
def clips(long: Long, heard: Probabilities) -> Clips:
    def cut(
        words: list[Word] | None = None,
        text: str | None = None,
        cues: tuple[Cue, ...] = (),
        shortest_s: float = 2,
        longest_s: float = 20,
    ) -> list[Cut]:
        return segment.clips(
            long.path,
            heard,
            shortest_s=shortest_s,
            longest_s=longest_s,
            words=words,
            text=text,
            cues=cues,
        )

    return cut


def check(cuts: list[Cut], shortest_s: float, longest_s: float) -> None:
    assert all(shortest_s <= c.span.end_s - c.span.start_s <= longest_s for c in cuts)
    assert all(a.span.end_s <= b.span.start_s for a, b in pairwise(cuts))


def within(long: Long, span: Span) -> str:
    """The sentences that are said in a span."""
    inside = [c.text for c in long.said if span.start_s <= (c.start_s + c.end_s) / 2 < span.end_s]
    return " ".join(inside)


def test_with_words_clips_are_whole_sentences_and_no_speech_is_lost(
    long: Long, heard: Probabilities, clips: Clips
) -> None:
    cuts = clips(words=long.words)
    check(cuts, 2, 20)
    assert len(cuts) >= 8
    assert not [c for c in cuts if long.sentence_at(c.span.start_s)]
    assert not [c for c in cuts if long.sentence_at(c.span.end_s)]
    assert segment.lost_s(heard, cuts) < 0.1
    assert {c.text for c in cuts} == {None}


@pytest.mark.parametrize(("shortest_s", "longest_s"), [(2, 20), (1, 9), (6, 30)])
def test_with_a_text_each_clip_gets_its_sentences(
    long: Long, clips: Clips, shortest_s: float, longest_s: float
) -> None:
    cuts = clips(long.words, long.text, shortest_s=shortest_s, longest_s=longest_s)
    check(cuts, shortest_s, longest_s)
    assert [c.text for c in cuts] == [within(long, c.span) for c in cuts]
    assert " ".join(str(c.text) for c in cuts) == long.text


def test_cues_become_clips_of_whole_cues_though_their_times_are_sloppy(
    long: Long, heard: Probabilities, clips: Clips
) -> None:
    shift = np.random.default_rng(0).uniform(-0.15, 0.15, (len(long.said), 2))
    sloppy: list[Cue] = []
    for cue, (start, end) in zip(long.said, shift, strict=True):
        start_s = max(cue.start_s + start, sloppy[-1].end_s if sloppy else 0)
        sloppy.append(Cue(start_s, cue.end_s + end, cue.text))
    for cues in (long.said, tuple(sloppy)):
        cuts = clips(cues=cues)
        check(cuts, 2, 20)
        assert [c.text for c in cuts] == [within(long, c.span) for c in cuts]
        assert " ".join(str(c.text) for c in cuts) == long.text
        assert segment.lost_s(heard, cuts) < 0.1


def test_cues_go_before_a_text(long: Long, clips: Clips) -> None:
    only = Cue(long.said[0].start_s, long.said[0].end_s, "Other words.")
    (cut,) = clips(long.words, long.text, (only,))
    assert cut.text == "Other words."
    assert long.sentence_at(cut.span.start_s) is long.sentence_at(cut.span.end_s) is None


def test_what_no_cue_tells_is_in_no_clip_and_is_counted(
    long: Long, heard: Probabilities, clips: Clips
) -> None:
    untold = long.said[7:8]
    cuts = clips(cues=tuple(cue for cue in long.said if cue not in untold))
    assert [c.text for c in cuts] == [within(long, c.span) for c in cuts]
    assert all(cue.text not in str(cut.text) for cut in cuts for cue in untold)
    seconds = sum(cue.end_s - cue.start_s for cue in untold)
    assert segment.lost_s(heard, cuts) == pytest.approx(seconds, rel=0.15)


def test_cues_without_a_pause_between_them_stay_together(long: Long, clips: Clips) -> None:
    whole = long.said[1]
    middle_s = whole.start_s + 0.37 * (whole.end_s - whole.start_s)
    halves = (Cue(whole.start_s, middle_s, "One"), Cue(middle_s, whole.end_s, "two."))
    cuts = clips(cues=(long.said[0], *halves, long.said[2]), shortest_s=1, longest_s=9)
    assert "One two." in [c.text for c in cuts]


def test_without_words_cuts_are_in_pauses_only(
    long: Long, heard: Probabilities, clips: Clips
) -> None:
    cuts = clips()
    check(cuts, 2, 20)
    assert segment.lost_s(heard, cuts) < 0.1
    for cut in cuts:
        for time_s in (cut.span.start_s, cut.span.end_s):
            around = read_span(long.path, time_s - 0.01, time_s + 0.01)
            assert silence.levels_dbfs(around, SAMPLE_RATE).max() < -55


def test_a_long_pause_is_in_no_clip(long: Long, clips: Clips) -> None:
    for cut in clips(words=long.words):
        inside = [c for c in long.said if cut.span.start_s <= c.start_s < cut.span.end_s]
        assert all(b.start_s - a.end_s < 5 for a, b in pairwise(inside))


def test_speech_without_a_pause_is_skipped_and_not_cut(
    long: Long, heard: Probabilities, clips: Clips
) -> None:
    cuts = clips(words=long.words, shortest_s=2, longest_s=4)
    check(cuts, 2, 4)
    assert segment.lost_s(heard, cuts) > 10
    assert segment.lost_s(heard, []) == pytest.approx((heard >= 0.5).sum() * SPEECH_HOP_S)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 4), st.floats(6, 30), st.booleans())
def test_every_word_lies_wholly_in_one_clip_or_in_none(
    long: Long,
    heard: Probabilities,
    seed: int,
    shortest_s: float,
    longest_s: float,
    has_text: bool,
) -> None:
    # Words that reach into the pauses by what is believed of them, and gaps within sentences.
    jitter = np.random.default_rng(seed)
    words: list[Word] = []
    for word in long.words:
        early, late = jitter.uniform(0, 0.05), jitter.uniform(-0.1, 0.05)
        start_s = max(word.start_s - early, words[-1].end_s if words else 0.0)
        words.append(Word(word.text, start_s, max(start_s + 0.02, word.end_s + late), 0.9))
    text = long.text if has_text else None
    cuts = segment.clips(
        long.path,
        heard,
        shortest_s=shortest_s,
        longest_s=longest_s,
        words=words,
        text=text,
        cues=(),
    )
    check(cuts, shortest_s, longest_s)
    edges = [edge for c in cuts for edge in (c.span.start_s, c.span.end_s)]
    # A pause of a comma lies inside a word here, since the words' times are made up.
    ends = [edge for edge in edges if long.sentence_at(edge) is None]
    assert not [(w, e) for w in words for e in ends if w.start_s + 1e-6 < e < w.end_s - 1e-6]
    if text is not None:
        said = " ".join(str(c.text) for c in cuts).split()
        assert _is_subsequence(said, text.split())


def _is_subsequence(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(word in rest for word in part)


def test_windows_cover_all_speech_and_end_in_pauses(long: Long, heard: Probabilities) -> None:
    spans = segment.windows(long.path, heard, 28.0)
    assert all(0 < s.end_s - s.start_s <= 28 for s in spans)
    assert all(a.end_s <= b.start_s for a, b in pairwise(spans))
    assert not [s for s in spans if long.sentence_at(s.start_s) or long.sentence_at(s.end_s)]
    for cue in long.said:
        assert any(s.start_s <= cue.start_s and cue.end_s <= s.end_s for s in spans)
    assert len(spans) <= 7
    # Pauses of seven seconds are in none of them.
    for before, after in pairwise(long.said):
        if after.start_s - before.end_s > 5:
            assert not any(s.start_s < before.end_s and after.start_s < s.end_s for s in spans)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 120)), max_size=30), st.floats(3, 28))
def test_windows_of_any_speech_are_in_order_short_and_cover_it(
    tones: Path, runs: list[tuple[float, int]], longest_s: float
) -> None:
    values = np.concatenate([np.zeros(0), *(np.full(n, p) for p, n in runs)])[:1874]
    spans = segment.windows(tones, values.astype(np.float32), longest_s)
    assert all(0 < s.end_s - s.start_s <= longest_s + 1e-9 for s in spans)
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(spans))
    for i in np.flatnonzero(values >= 0.5):
        middle_s = (i + 0.5) * SPEECH_HOP_S
        assert any(s.start_s <= middle_s <= s.end_s for s in spans)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tones") / "tones.flac"
    audio.write(path, np.concatenate([tone(9000), noise(100, -60)] * 7)[: 60 * SAMPLE_RATE])
    return path


def test_a_window_of_speech_without_a_pause_ends_where_it_is_quietest(tones: Path) -> None:
    spans = segment.windows(tones, np.full(1875, 0.9, np.float32), 28.0)
    assert [s.end_s for s in spans] == pytest.approx([27.25, 54.55, 60.0], abs=0.06)


def speaking(seconds: float, *pauses: tuple[float, float]) -> Probabilities:
    """Probabilities of somebody who speaks but in these pauses, each (start, seconds)."""
    values = np.full(round(seconds / SPEECH_HOP_S), 0.9, np.float32)
    for start_s, pause_s in pauses:
        values[round(start_s / SPEECH_HOP_S) : round((start_s + pause_s) / SPEECH_HOP_S)] = 0
    return values


def spans_of(
    copy: Path,
    probabilities: Probabilities,
    words: list[Word] | None = None,
    cues: tuple[Cue, ...] = (),
) -> list[float]:
    """Where clips end, to a tenth of a second."""
    cuts = segment.clips(
        copy, probabilities, shortest_s=2, longest_s=20, words=words, text=None, cues=cues
    )
    return [round(cut.span.end_s, 1) for cut in cuts]


def test_windows_share_a_short_pause_and_do_not_overlap(tones: Path) -> None:
    spans = segment.windows(tones, speaking(50, (20, 0.2), (40, 0.2)), 28)
    assert [s.end_s for s in spans] == pytest.approx([20.1, 40.1, 50.3], abs=0.05)
    assert [s.start_s for s in spans] == pytest.approx([0, 20.1, 40.1], abs=0.05)


def test_without_words_a_pause_that_may_be_a_closure_is_no_place_to_cut(tones: Path) -> None:
    assert spans_of(tones, speaking(30, (18, 0.16))) == []
    assert len(spans_of(tones, speaking(30, (18, 0.24)))) == 2


def test_without_words_longer_pauses_are_preferred(tones: Path) -> None:
    first, _ = spans_of(tones, speaking(24, (9, 0.6), (12, 0.3)))
    assert 9 <= first <= 9.6


def test_a_comma_is_a_better_place_than_none(tones: Path) -> None:
    heard = speaking(24, (9, 0.3), (12, 0.3))
    words = [Word("one,", 8, 9, 0.9), Word("two", 11, 12, 0.9), Word("three.", 13, 24, 0.9)]
    first, _ = spans_of(tones, heard, words)
    assert 9 <= first <= 9.3


def test_a_cue_takes_the_pause_beside_it_and_not_the_closure_in_it(tones: Path) -> None:
    heard = speaking(24, (9.9, 0.1), (10.1, 0.5))
    first, _ = spans_of(tones, heard, cues=(Cue(0, 9.95, "One."), Cue(9.95, 24, "Two.")))
    assert 10.1 <= first <= 10.6


def test_nobody_speaking_makes_no_window_and_no_clip(tones: Path) -> None:
    nobody = np.zeros(1875, np.float32)
    assert segment.windows(tones, nobody) == []
    for words, cues in (([], ()), (None, ()), (None, (Cue(1, 2, "Hi."),))):
        assert (
            segment.clips(
                tones, nobody, shortest_s=2, longest_s=20, words=words, text="Hi.", cues=cues
            )
            == []
        )
    assert segment.lost_s(nobody, []) == 0
