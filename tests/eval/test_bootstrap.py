"""Intervals against known answers: what normal theory says, coverage, pairs, and the edges."""

import math

import numpy as np
import pytest

from orpheus_clone.eval.bootstrap import (
    Interval,
    difference,
    interval,
    mean,
    median,
    ratio,
    share,
    wilson,
)


def test_the_interval_of_a_mean_is_that_of_normal_theory() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 400)
    found = interval(values, mean)
    assert found is not None
    half = 1.96 * values.std() / math.sqrt(400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03)


def test_the_truth_lies_in_about_95_of_100_intervals() -> None:
    luck = np.random.default_rng(2)
    words = luck.integers(3, 25, (300, 60))
    edits = luck.binomial(words, 0.1)
    hits = 0
    for row in range(300):
        found = interval(np.stack([edits[row], words[row]], axis=1), ratio)
        assert found is not None
        hits += found.low <= 0.1 <= found.high
    assert 0.91 <= hits / 300 <= 0.975


def test_edits_that_fall_together_make_an_error_rate_less_sure() -> None:
    words = np.full(100, 10)
    apart, together = np.full(100, 1), np.where(np.arange(100) < 10, 10, 0)
    sure = interval(np.stack([apart, words], axis=1), ratio)
    unsure = interval(np.stack([together, words], axis=1), ratio)
    assert sure == Interval(0.1, 0.1)
    assert unsure is not None
    # A share of 10 in 100: sqrt(.1 * .9 / 100) is 0.03.
    assert unsure.high - unsure.low == pytest.approx(2 * 1.96 * 0.03, abs=0.02)


def test_a_long_text_counts_as_long() -> None:
    assert ratio(np.array([[1.0, 10.0], [0.0, 90.0]])) == pytest.approx(0.01)


def test_what_is_the_same_in_both_does_not_blur_a_difference() -> None:
    hard = np.random.default_rng(3).normal(0, 10, 50)
    found = difference(hard + 1.0, hard, mean)
    assert found is not None
    assert found.low == pytest.approx(1.0)
    assert found.high == pytest.approx(1.0)


def test_never_is_infinite_and_null_in_json() -> None:
    found = interval([50.0] * 6 + [math.inf] * 4, median)
    assert found == Interval(50.0, math.inf)
    assert found.finite == (50.0, None)


def test_the_same_values_have_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(4).normal(size=30)
    assert interval(values, mean) == interval(values, mean)
    assert interval(values, mean) != interval(values, mean, seed=1)


def test_one_utterance_has_no_interval() -> None:
    assert interval([1.0], mean) is None
    assert difference([1.0], [2.0], mean) is None


def test_utterances_that_are_no_pairs_are_not_compared() -> None:
    with pytest.raises(ValueError, match="3 and 2 utterances"):
        difference([1.0, 2.0, 3.0], [1.0, 2.0], mean)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(10, 20, 0.299, 0.701), (0, 10, 0.0, 0.278), (81, 263, 0.2553, 0.3662)],
)
def test_a_shares_interval_is_wilsons(hits: int, count: int, low: float, high: float) -> None:
    # The last: Newcombe 1998, table I.
    found = wilson(hits, count)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)


def test_of_200_that_all_stopped_the_next_may_not() -> None:
    found = interval([True] * 200, share)
    assert found is not None
    assert found.low == pytest.approx(0.981, abs=1e-3)
    assert found.high == pytest.approx(1.0)
