"""Many hearings to one voice's figures: by hand, with mute utterances and missing judges."""

import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.judges import Judges
from orpheus_clone.listening.figures import CUT_MS, RANDOM_BASE, Figures, add_up, percentile
from orpheus_clone.listening.hear import Ending, Hearing, Listener
from orpheus_clone.listening.reference import HeldOut, Reference
from orpheus_clone.listening.words import Difference
from tests.signals import tone

NOBODY = Judges(None, None, None, ())
REFERENCE = Reference((HeldOut("a", "Yes.", tone(500)),), "en", 0.06, 100.0)
DEAF = Listener(NOBODY, REFERENCE)

GOOD = Hearing(
    text="Please hold the line.",
    seconds=1.4,
    finish="stop",
    speech_s=1.25,
    head_ms=50.0,
    tail_ms=100.0,
    pace=1.0,
    heard="Please hold the line.",
    difference=Difference(words=4, word_edits=0, letters=17, letter_edits=0, words_said=4),
    similarity=0.7,
    mos=3.0,
    pitch_hz=100.0,
)
MUTE = replace(
    GOOD,
    finish="silence",
    speech_s=None,
    head_ms=None,
    tail_ms=None,
    pace=None,
    heard="",
    difference=Difference(4, 4, 17, 17, 0),
    similarity=None,
    mos=None,
    pitch_hz=None,
)


def figures(*hearings: Hearing) -> Figures:
    return add_up(hearings, DEAF)


def test_a_good_voice_by_hand() -> None:
    found = figures(GOOD, GOOD)
    values = {name: getattr(found, name).value for name in Figures.__dataclass_fields__}
    assert values == {
        "stop_rate": 1.0, "loop_rate": 0.0, "wer": 0.0, "cer": 0.0, "coverage": 1.0, "pace": 1.0,
        "head_p50_ms": 50.0, "head_p95_ms": 50.0, "tail_p50_ms": 100.0, "tail_p95_ms": 100.0,
        "cut_rate": 0.0, "similarity": 0.7, "mos": 3.0, "pitch_semitones": 0.0,
    }  # fmt: skip


def test_error_rates_are_of_the_corpus_and_no_mean_of_clips() -> None:
    long = replace(GOOD, difference=Difference(96, 0, 400, 0, 96))
    found = figures(MUTE, long)
    assert found.wer.value == pytest.approx(4 / 100)
    assert found.cer.value == pytest.approx(17 / 417)
    assert found.coverage.value == pytest.approx(96 / 100)


@pytest.mark.parametrize(
    ("finish", "stops", "loops"),
    [("stop", 1.0, 0.0), ("length", 0.5, 0.0), ("loop", 0.5, 0.5), ("silence", 0.5, 0.5)],
)
def test_how_utterances_end(finish: Ending, stops: float, loops: float) -> None:
    found = figures(GOOD, replace(GOOD, finish=finish))
    assert (found.stop_rate.value, found.loop_rate.value) == (stops, loops)


def test_speech_that_goes_on_to_the_very_end_was_cut_off() -> None:
    just, cut = replace(GOOD, tail_ms=CUT_MS), replace(GOOD, tail_ms=CUT_MS - 5)
    assert figures(just, just).cut_rate.value == 0
    assert figures(just, cut, cut, MUTE).cut_rate.value == 0.5


def test_muteness_is_no_promptness_and_no_short_tail() -> None:
    found = figures(GOOD, MUTE, MUTE)
    assert found.head_p50_ms.value == found.tail_p95_ms.value == found.pace.value == math.inf
    assert found.head_p50_ms.why == "only 1 of 3 utterances hold speech"


def test_means_are_over_those_in_which_somebody_speaks() -> None:
    found = figures(GOOD, replace(GOOD, similarity=0.5, mos=2.0), MUTE)
    assert found.similarity.value == pytest.approx(0.6)
    assert found.mos.value == pytest.approx(2.5)


@pytest.mark.parametrize(("hertz", "semitones"), [(200.0, 12.0), (50.0, -12.0), (105.946, 1.0)])
def test_pitch_is_counted_in_semitones_from_the_speaker(hertz: float, semitones: float) -> None:
    found = figures(replace(GOOD, pitch_hz=hertz), MUTE)
    assert found.pitch_semitones.value == pytest.approx(semitones, abs=1e-3)


def test_what_no_judge_heard_is_none_with_the_reason_and_never_0() -> None:
    unheard = replace(GOOD, heard=None, difference=None, similarity=None, mos=None)
    found = figures(unheard)
    for figure, setting in (
        (found.wer, "judges.asr"),
        (found.cer, "judges.asr"),
        (found.coverage, "judges.asr"),
        (found.similarity, "judges.speaker"),
        (found.mos, "judges.mos"),
    ):
        assert figure.value is None
        assert figure.why is not None and setting in figure.why
    assert found.stop_rate.value == 1.0


def test_of_a_random_base_nothing_is_measured() -> None:
    found = add_up([GOOD], Listener(NOBODY, REFERENCE, is_random=True))
    for name in Figures.__dataclass_fields__:
        assert (getattr(found, name).value, getattr(found, name).why) == (None, RANDOM_BASE)


def test_percentiles_lie_between_neighbours() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 50).value == 2.5
    assert percentile([0.0, 100.0], 95).value == pytest.approx(95.0)
    assert percentile([10.0, 20.0, None], 50).value == 20.0
    assert percentile([10.0, None], 50).value == math.inf
    assert percentile([7.0], 5).value == 7.0


@given(st.lists(st.none() | st.integers(0, 5000), min_size=1, max_size=30))
def test_the_median_is_that_of_the_list_with_infinity_for_the_mute(
    values: list[int | None],
) -> None:
    never = statistics.median([math.inf if value is None else value for value in values])
    assert percentile([None if v is None else float(v) for v in values], 50).value == never
