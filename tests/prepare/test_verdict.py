"""The verdict at each edge, and one step past it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.prepare.verdict import ADVICE, Facts, Level, judge, minutes, percentile

GOOD = Facts(
    minutes=30.0, lost={}, snr_db=30.0, telephone_share=0.0, unlike_share=0.0, speed_ratio=1.4
)


def judged(**changes: object) -> tuple[Level, str, str]:
    """Level, reasons and requests of a good corpus that has these changes."""
    verdict = judge(dataclasses.replace(GOOD, **changes))  # type: ignore[arg-type]
    return verdict.level, " ".join(verdict.reasons), " ".join(verdict.requests)


def test_thirty_good_minutes_are_trained_and_nothing_is_asked() -> None:
    verdict = judge(GOOD)
    assert verdict.headline == "Enough: 30.0 minutes of one voice, well recorded. Train it"
    assert (verdict.level, verdict.reasons, verdict.requests) == ("train", (), ())


def test_what_was_not_measured_is_not_held_against_it() -> None:
    assert judge(Facts(minutes=30.0, lost={})).level == "train"


@pytest.mark.parametrize(
    ("kept", "level", "asked"),
    [
        (0.0, "ask", "Ask for 30 more minutes of the same speaker, at least 10"),
        (9.99, "ask", "Ask for 21 more minutes of the same speaker, at least 1"),
        (10.0, "train", "If it is easy, ask for 20 more"),
        (21.3, "train", "If it is easy, ask for 9 more"),
        (29.99, "train", "If it is easy, ask for 1 more"),
    ],
)
def test_minutes(kept: float, level: Level, asked: str) -> None:
    found, _, requests = judged(minutes=kept)
    assert found == level
    assert requests.startswith(asked)


def test_the_headline_says_how_many_minutes_to_ask_for() -> None:
    few = judge(dataclasses.replace(GOOD, minutes=9.99))
    assert few.headline == "Ask for 21 more minutes: 9.9 minutes are usable"
    poor = judge(dataclasses.replace(GOOD, snr_db=5.0))
    assert poor.headline.startswith("Ask for other recordings: 30.0 minutes are usable")


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({"snr_db": 20.0}, "train"),
        ({"snr_db": 19.9}, "care"),
        ({"snr_db": 12.0}, "care"),
        ({"snr_db": 11.9}, "ask"),
        ({"telephone_share": 0.1}, "train"),
        ({"telephone_share": 0.11}, "care"),
        ({"telephone_share": 0.5}, "care"),
        ({"telephone_share": 0.51}, "ask"),
        ({"unlike_share": 0.05}, "train"),
        ({"unlike_share": 0.06}, "care"),
        ({"speed_ratio": 1.6}, "train"),
        ({"speed_ratio": 1.61}, "care"),
        ({"lost": {"noise": 10.0}}, "train"),
        ({"lost": {"noise": 10.1}}, "care"),
        ({"has_consent": False}, "care"),
        ({"missing_sounds": ("z",)}, "train"),
    ],
)
def test_each_limit(changes: dict[str, object], level: Level) -> None:
    found, reasons, requests = judged(**changes)
    assert found == level
    is_told = level != "train" or "missing_sounds" in changes
    assert bool(reasons) == bool(requests) == is_told


def test_the_main_reason_for_what_was_lost_is_what_is_asked_about() -> None:
    _, reasons, requests = judged(lost={"noise": 5.0, "speaker": 15.0})
    assert reasons == "40% of the minutes were lost, 75% of them to: speaker."
    assert requests == "Send recordings in which only the voice to be cloned speaks."


def test_a_kind_without_advice_points_to_the_clips() -> None:
    _, _, requests = judged(lost={"martians": 20.0})
    assert requests == "Look at the rejected clips below."


def test_advice_is_given_once() -> None:
    verdict = judge(dataclasses.replace(GOOD, lost={"bandwidth": 20.0}, telephone_share=0.6))
    assert len(verdict.reasons) == 2
    assert len(verdict.requests) == 1


def test_advice_goes_on_a_sentence() -> None:
    assert all(words[0].islower() and not words.endswith(".") for words in ADVICE.values())


def test_sounds_to_read_are_named_but_not_all() -> None:
    _, reasons, requests = judged(missing_sounds=tuple("abcdefghijklm"))
    assert reasons == "13 letters or spellings occur in no text."
    assert requests.endswith("a, b, c, d, e, f, g, h, i, j, k, l, ….")


@given(st.floats(0, 1000))
def test_minutes_never_read_as_more_than_they_are(value: float) -> None:
    assert float(minutes(value).split()[0]) <= value + 1e-6


def test_one_minute_is_singular() -> None:
    assert (minutes(1.0), minutes(1.1)) == ("1.0 minute", "1.1 minutes")


def test_percentiles_lie_between_the_two_nearest() -> None:
    assert percentile([], 50) is None
    assert percentile([3.0], 95) == 3.0
    assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.5
    assert percentile([1.0, 2.0], 0) == 1.0
    assert percentile([1.0, 2.0], 100) == 2.0
