"""How sure a figure is: percentile bootstrap over utterances (Efron 1979), seeded.

    utterances  a b c d e        each draw takes as many again, some twice, some not
    draws       b b e a d ─▶ figure      the middle 95 % of the figures are the interval
                c a a e b ─▶ figure

Whole utterances are drawn: a corpus word error rate is summed up anew over those that were, so
words that fall in one utterance stay together. Two voices that spoke the same prompts are
compared in pairs: both are drawn alike, and the figure is their difference.

Of 200 utterances that all stopped every draw has all, which says nothing of the 201st: a share has
Wilson's interval (1927) instead. Limit: where no utterance has a word wrong, the interval of the
error rate is 0 to 0, and claims more than is known.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rows = NDArray[np.float64]
"""(utterances, columns), or with draws before: (draws, utterances, columns)."""
Statistic = Callable[[Rows], NDArray[np.float64]]
"""(…, utterances, columns) to (…)."""

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """Where a figure lies with the certainty `LEVEL`; infinite for "never"."""

    low: float
    high: float

    @property
    def finite(self) -> tuple[float | None, float | None]:
        """Both ends for JSON, which has no infinity."""
        low, high = (round(end, 4) if math.isfinite(end) else None for end in (self.low, self.high))
        return low, high


def ratio(table: Rows) -> NDArray[np.float64]:
    """The sum of the first column over that of the second, as in a corpus error rate."""
    total = table[..., 1].sum(axis=-1)
    return np.asarray(table[..., 0].sum(axis=-1) / np.where(total == 0, 1, total))


def share(table: Rows) -> NDArray[np.float64]:
    """Of the rows whose first column is true."""
    return mean(table)


def mean(table: Rows) -> NDArray[np.float64]:
    """Of the first column."""
    return np.asarray(table[..., 0].mean(axis=-1))


def median(table: Rows) -> NDArray[np.float64]:
    """Of the first column, in which infinity may stand for never."""
    return np.asarray(np.median(table[..., 0], axis=-1))


def interval(values: ArrayLike, statistic: Statistic, *, seed: int = 0) -> Interval | None:
    """Of `statistic` over (utterances,) or (utterances, columns); None of fewer than two."""
    table = rows(values)
    if len(table) < 2:
        return None
    if statistic is share:
        return wilson(int(table[:, 0].sum()), len(table))
    return _middle(statistic(table[_draws(len(table), seed)]))


def wilson(hits: int, count: int) -> Interval:
    """Of the share that `hits` of `count` are; Wilson's score interval, never outside 0 to 1."""
    z2 = NormalDist().inv_cdf((1 + LEVEL) / 2) ** 2
    middle = (hits + z2 / 2) / (count + z2)
    half = math.sqrt(z2 * (hits * (count - hits) / count + z2 / 4)) / (count + z2)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def difference(
    a: ArrayLike, b: ArrayLike, statistic: Statistic, *, seed: int = 0
) -> Interval | None:
    """Of the statistic of `a` less that of `b`, whose utterances are paired; as `interval`."""
    left, right = rows(a), rows(b)
    if len(left) != len(right):
        raise ValueError(f"{len(left)} and {len(right)} utterances are no pairs")
    if len(left) < 2:
        return None
    drawn = _draws(len(left), seed)
    return _middle(_less(statistic(left[drawn]), statistic(right[drawn])))


def _less(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """`a` less `b`; of never and never nothing is left."""
    left = np.zeros_like(a)
    return np.subtract(a, b, out=left, where=a != b)


def rows(values: ArrayLike) -> Rows:
    """(utterances,) or (utterances, columns), as the latter."""
    table = np.asarray(values, np.float64)
    return table[:, None] if table.ndim == 1 else table


def _draws(count: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, count, (DRAWS, count))


def _middle(figures: NDArray[np.float64]) -> Interval:
    """Two of the figures themselves, since between a number and infinity there is nothing."""
    ends = np.quantile(figures, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    return Interval(float(ends[0]), float(ends[1]))
