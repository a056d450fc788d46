"""Intervals against known answers: what normal theory says, coverage, pairs, and the edges."""

import math

import numpy as np
import pytest

from orpheus_clone.eval.bootstrap import (
    Interval,
    Statistic,
    difference,
    interval,
    mean,
    median,
    p5,
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


def test_so_it_does_where_texts_are_repeated_and_some_are_harder_than_others() -> None:
    luck = np.random.default_rng(5)
    texts = [str(text) for text in range(24) for _ in range(8)]
    hits = {"by text": 0, "by utterance": 0}
    for _ in range(100):
        hard = np.repeat(luck.beta(2, 18, 24), 8)
        edits = np.stack([luck.binomial(10, hard), np.full(192, 10)], axis=1)
        for how, drawn in (("by text", texts), ("by utterance", None)):
            found = interval(edits, ratio, drawn)
            assert found is not None
            hits[how] += found.low <= 0.1 <= found.high
    assert hits["by text"] >= 88
    assert hits["by utterance"] <= 75


def test_the_difference_of_two_who_spoke_the_same_texts_is_drawn_by_text() -> None:
    texts = [str(text) for text in range(10) for _ in range(4)]
    mine = np.repeat(np.random.default_rng(6).normal(0, 1, 10), 4)
    by_text = difference(mine, np.zeros(40), mean, texts)
    assert by_text == difference(mine[::4], np.zeros(10), mean)
    assert by_text != difference(mine, np.zeros(40), mean)
    assert difference(mine, np.zeros(40), mean, ["one"] * 40) is None


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
    assert ratio(np.array([[1.0, 10.0], [0.0, 90.0]]), np.ones(2)) == pytest.approx(0.01)


@pytest.mark.parametrize(("statistic", "q"), [(median, 50), (p5, 5)])
@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [2, 0, 5, 1], [0, 0, 3, 0], [1, 0, 0, 1]])
def test_a_percentile_is_numpys_of_values_that_stand_as_often_as_they_weigh(
    statistic: Statistic, q: float, weights: list[int]
) -> None:
    values = np.array([7.0, 1.0, 4.0, 2.0])
    wanted = np.percentile(np.repeat(values, weights), q)
    assert statistic(values[:, None], np.array(weights, float)) == pytest.approx(wanted)


def test_a_median_between_a_number_and_never_is_never() -> None:
    table = np.array([[1.0], [math.inf]])
    found = median(table, np.array([[1.0, 1.0], [2.0, 1.0], [1.0, 3.0]]))
    assert found.tolist() == [math.inf, 1.0, math.inf]


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
