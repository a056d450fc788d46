"""Pauses of constructed sounds: tones stand for speech, noise for room tone and breaths."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone import audio, silence
from orpheus_clone.asr import Word
from orpheus_clone.prepare import pauses as trough
from orpheus_clone.prepare.pauses import SPEECH_HOP_S, Pause
from orpheus_clone.prepare.silero import Probabilities
from orpheus_clone.tokens import SAMPLE_RATE
from tests.signals import joined, noise, tone

HOP_MS = 1000 * SPEECH_HOP_S


def word(start_s: float, end_s: float) -> Word:
    return Word("w", start_s, end_s, 0.9)


def levels(folder: Path, *parts: audio.Waveform) -> trough.Levels:
    audio.write(folder / "a.flac", joined(*parts))
    return trough.levels(folder / "a.flac")


def found(
    db: trough.Levels, spoken: list[tuple[float, float]], words: tuple[Word, ...] = ()
) -> list[Pause]:
    together = trough.with_words(spoken, words)
    return trough.pauses(together, db, words, trough.centres(words, together))


def probabilities(*values: float) -> Probabilities:
    return np.array(values, np.float32)


def test_levels_are_those_of_silence_over_20_ms_whatever_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = tone(100, -20), noise(100, -60), tone(130, -30)
    whole = levels(tmp_path, *parts)
    assert len(whole) == (330 - 20) / 5 + 1
    assert whole[2] == pytest.approx(-20, abs=0.5)
    assert whole[24:34] == pytest.approx(-60, abs=1)
    ten = silence.levels_dbfs(audio.read(tmp_path / "a.flac"), SAMPLE_RATE)
    assert whole[30] == pytest.approx(10 * np.log10(np.mean(10 ** (ten[[30, 32]] / 10))), abs=1e-3)
    monkeypatch.setattr(trough, "_BLOCK", 120 * 9)
    np.testing.assert_allclose(trough.levels(tmp_path / "a.flac")[24:34], whole[24:34], atol=1.5)
    assert len(trough.levels(tmp_path / "a.flac")) == len(whole)


def test_speech_begins_above_one_threshold_and_ends_below_another() -> None:
    quiet = (0.1,) * 10
    spoken = trough.stretches(
        probabilities(*quiet, 0.36, 0.49, *(0.5,) * 8, 0.36, 0.34, *quiet, 0.4, 0.4, *quiet)
    )
    assert spoken == [(12 * SPEECH_HOP_S, 21 * SPEECH_HOP_S)]


def test_a_closure_is_no_pause_and_three_hops_are_one() -> None:
    loud, quiet = (0.9,) * 10, 0.0
    assert len(trough.stretches(probabilities(*loud, *(quiet,) * 2, *loud))) == 1
    assert len(trough.stretches(probabilities(*loud, *(quiet,) * 3, *loud))) == 2


def test_a_short_sound_beside_a_word_is_its_end_and_one_far_from_it_is_a_word() -> None:
    loud, brief = (0.9,) * 10, (0.9,) * 3
    assert len(trough.stretches(probabilities(*loud, *(0.0,) * 7, *brief))) == 1
    assert len(trough.stretches(probabilities(*brief, *(0.0,) * 7, *loud))) == 1
    assert len(trough.stretches(probabilities(*loud, *(0.0,) * 8, *brief))) == 2
    assert trough.stretches(probabilities()) == []


def test_the_cut_is_in_the_quietest_20_ms(tmp_path: Path) -> None:
    db = levels(tmp_path, tone(1000), noise(200, -55), noise(30, -60), noise(200, -55), tone(1000))
    _, pause, _ = found(db, [(0.0, 1.0), (1.43, 2.43)])
    assert pause.left_s == pause.right_s
    assert 1.205 <= pause.left_s <= 1.225


@pytest.mark.parametrize(("before_ms", "after_ms"), [(200, 60), (150, 0), (200, 150), (120, 180)])
def test_a_breath_belongs_to_the_clip_that_it_precedes(
    tmp_path: Path, before_ms: float, after_ms: float
) -> None:
    db = levels(
        tmp_path,
        *(tone(1000), noise(before_ms, -65), noise(350, -45), noise(after_ms, -65), tone(1000)),
    )
    end_s = 1 + (before_ms + 350 + after_ms) / 1000
    _, pause, _ = found(db, [(0.0, 1.0), (end_s, end_s + 1)])
    assert 1.0 < pause.left_s == pause.right_s < 1 + before_ms / 1000


def test_the_closure_of_a_last_t_is_too_short_to_cut_in(tmp_path: Path) -> None:
    db = levels(tmp_path, tone(1000), noise(60, -65), noise(40, -40), noise(250, -65), tone(1000))
    _, pause, _ = found(db, [(0.0, 1.0), (1.35, 2.35)])
    assert pause.left_s > 1.1


def test_a_breath_right_after_a_word_stays_with_it_and_is_not_cut(tmp_path: Path) -> None:
    db = levels(tmp_path, tone(1000), noise(300, -45), noise(200, -65), tone(1000))
    _, pause, _ = found(db, [(0.0, 1.0), (1.5, 2.5)])
    assert 1.3 < pause.left_s < 1.5


@pytest.mark.parametrize("middle_dbfs", [-65, -30, -90])
def test_the_middle_of_a_long_pause_belongs_to_no_clip(tmp_path: Path, middle_dbfs: float) -> None:
    tones = tone(1000), noise(400, -65), noise(2200, middle_dbfs), noise(400, -65), tone(1000)
    db = levels(tmp_path, *tones)
    _, pause, _ = found(db, [(0.0, 1.0), (4.0, 5.0)])
    assert 1.0 < pause.left_s <= 1.6
    assert 3.4 <= pause.right_s < 4.0
    if middle_dbfs > -65:
        assert pause.left_s < 1.4
        assert pause.right_s > 3.6


def test_a_pause_of_up_to_1200_ms_is_cut_once(tmp_path: Path) -> None:
    db = levels(tmp_path, tone(1000), noise(1201, -65), tone(1000))
    _, pause, _ = found(db, [(0.0, 1.0), (2.199, 3.2)])
    assert pause.left_s == pause.right_s
    _, pause, _ = found(db, [(0.0, 1.0), (2.201, 3.2)])
    assert pause.left_s < pause.right_s


def test_the_recording_may_begin_and_end_in_speech(tmp_path: Path) -> None:
    db = levels(tmp_path, tone(1000))
    first, last = found(db, [(0.0, 1.0)])
    assert (first.right_s, last.left_s) == (0.0, 1.0)
    assert found(db, []) == []


def test_a_word_that_reaches_into_a_pause_is_left_whole_up_to_150_ms(tmp_path: Path) -> None:
    db = levels(tmp_path, tone(1000), noise(150, -70), noise(350, -66), tone(1000))
    spoken = [(0.0, 1.0), (1.5, 2.5)]
    assert found(db, spoken)[1].left_s < 1.15
    assert found(db, spoken, (word(0.5, 1.15), word(1.4, 2.0)))[1].left_s >= 1.15
    assert 1.15 <= found(db, spoken, (word(0.5, 1.45), word(1.46, 2.0)))[1].left_s <= 1.46
    # Stretched over all of the pause: the ASR does not know where it ends.
    assert 1.0 < found(db, spoken, (word(0.5, 1.5), word(1.5, 2.0)))[1].left_s < 1.5


def test_a_brief_pause_within_a_word_is_none(tmp_path: Path) -> None:
    db = levels(tmp_path, tone(1000), noise(200, -65), tone(1000))
    spoken = [(0.0, 1.0), (1.2, 2.2)]
    assert len(found(db, spoken)) == 3
    assert len(found(db, spoken, (word(0.9, 1.3),))) == 2
    assert len(found(db, spoken, (word(0.97, 1.3),))) == 3
    assert len(found(db, spoken, (word(0.9, 1.23),))) == 3


def test_a_word_that_the_vad_does_not_hear_is_not_cut(tmp_path: Path) -> None:
    db = levels(tmp_path, tone(1000), noise(200, -60), noise(600, -65), noise(200, -60), tone(500))
    spoken = [(0.0, 1.0), (2.0, 2.5)]
    soft = word(1.2, 1.8)
    cuts = found(db, spoken, (word(0.1, 1.0), soft, word(2.0, 2.5)))
    assert not [c for c in cuts if soft.start_s < c.left_s < soft.end_s]
    assert len(cuts) == 4


def test_a_gap_between_words_is_a_brief_pause_if_it_is_quiet(tmp_path: Path) -> None:
    spoken, words = [(0.0, 2.08)], (word(0.0, 1.0), word(1.08, 2.08))
    quiet = levels(tmp_path, tone(1000), noise(80, -60), tone(1000))
    (brief,) = [pause for pause in found(quiet, spoken, words) if pause.is_brief]
    assert 1.0 < brief.left_s == brief.right_s < 1.08
    loud = levels(tmp_path, tone(1000), noise(80, -40), tone(1000))
    assert not [pause for pause in found(loud, spoken, words) if pause.is_brief]
    near = (word(0.0, 1.0), word(1.05, 2.08))
    assert not [pause for pause in found(quiet, spoken, near) if pause.is_brief]


def test_a_stretched_word_is_where_most_of_it_is_said() -> None:
    words = (word(0.5, 1.8), word(1.9, 4.2), word(5.0, 5.2))
    middles = trough.centres(words, [(0.0, 1.0), (3.0, 4.0)])
    assert middles == pytest.approx([0.75, 3.5, 5.1])
    # Words that change places by it stay in order.
    assert trough.centres((word(0.9, 4.0), word(2.0, 3.1)), [(0.0, 1.0), (3.0, 4.0)]) == (
        pytest.approx([3.5, 3.5])
    )


@given(st.lists(st.floats(0, 1, width=32), max_size=60))
def test_all_that_is_surely_speech_is_in_a_stretch_and_stretches_are_in_order(
    values: list[float],
) -> None:
    spoken = trough.stretches(probabilities(*values))
    for i, value in enumerate(values):
        if value >= trough.SPEECH_FROM:
            assert any(a <= (i + 0.5) * SPEECH_HOP_S <= b for a, b in spoken)
    edges = [edge for stretch in spoken for edge in stretch]
    assert edges == sorted(edges)
    assert all(
        b - a >= trough.SHORTEST_S - 1e-9 for a, b in zip(edges[1::2], edges[2::2], strict=False)
    )
