"""How sure a figure is: percentile bootstrap over texts (Efron 1979), seeded.

    texts       a b c d e        each draw takes as many again, some twice, some not, each with
    draws       b b e a d ─▶ figure      all that was spoken of it; the middle 95 % of the figures
                c a a e b ─▶ figure      are the interval

Whole texts are drawn: what is hard to say is hard each time, so a text that is spoken eight times
tells little more than once. A corpus word error rate is summed up anew over those that were drawn.
Two voices that spoke the same prompts are compared in pairs: both are drawn alike, and the figure
is their difference.

Of 200 utterances that all stopped every draw has all, which says nothing of the 201st: a share has
Wilson's interval (1927) instead, of as many as there are texts, as if each always ended alike.
Limit: where no utterance has a word wrong, the interval of the error rate is 0 to 0, and claims
more than is known.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rows = NDArray[np.float64]
"""(utterances, columns)."""
Weights = NDArray[np.float64]
"""How often each utterance counts: (utterances,), or with draws before (draws, utterances)."""
Statistic = Callable[[Rows, Weights], NDArray[np.float64]]
"""(utterances, columns) and (…, utterances) to (…)."""

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


def ratio(table: Rows, weights: Weights) -> NDArray[np.float64]:
    """The sum of the first column over that of the second, as in a corpus error rate."""
    total = weights @ table[:, 1]
    return np.asarray(weights @ table[:, 0] / np.where(total == 0, 1, total))


def share(table: Rows, weights: Weights) -> NDArray[np.float64]:
    """Of the rows whose first column is true."""
    return mean(table, weights)


def mean(table: Rows, weights: Weights) -> NDArray[np.float64]:
    """Of the first column."""
    return np.asarray(weights @ table[:, 0] / weights.sum(axis=-1))


def median(table: Rows, weights: Weights) -> NDArray[np.float64]:
    """Of the first column, in which infinity may stand for never."""
    return _quantile(table, weights, 0.5)


def p5(table: Rows, weights: Weights) -> NDArray[np.float64]:
    """5th percentile of the first column: 95 of 100 have at least this."""
    return _quantile(table, weights, 0.05)


def _quantile(table: Rows, weights: Weights, q: float) -> NDArray[np.float64]:
    """Between neighbours, as numpy's, where each value stands as often as it weighs."""
    order = np.argsort(table[:, 0])
    values, upto = table[order, 0], weights[..., order].cumsum(axis=-1)
    place = q * (upto[..., -1] - 1)
    low, high = (
        values[(upto > end(place)[..., None]).argmax(axis=-1)] for end in (np.floor, np.ceil)
    )
    return np.asarray(low + _less(high, low) * (place - np.floor(place)))


def interval(
    values: ArrayLike, statistic: Statistic, texts: Sequence[str] | None = None, *, seed: int = 0
) -> Interval | None:
    """Of `statistic` over (utterances,) or (utterances, columns) of these texts.

    Without `texts` each is of another; None of fewer than two.
    """
    table, count = rows(values), _count(values, texts)
    if count < 2:
        return None
    if statistic is share:
        return wilson(count * float(table[:, 0].mean()), count)
    return _middle(statistic(table, _draws(len(table), texts, seed)), LEVEL)


def wilson(hits: float, count: int) -> Interval:
    """Of the share that `hits` of `count` are; Wilson's score interval, never outside 0 to 1."""
    z2 = NormalDist().inv_cdf((1 + LEVEL) / 2) ** 2
    middle = (hits + z2 / 2) / (count + z2)
    half = math.sqrt(z2 * (hits * (count - hits) / count + z2 / 4)) / (count + z2)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def difference(
    a: ArrayLike,
    b: ArrayLike,
    statistic: Statistic,
    texts: Sequence[str] | None = None,
    *,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval | None:
    """Of the statistic of `a` less that of `b`, whose utterances are paired; as `interval`."""
    left, right = rows(a), rows(b)
    if len(left) != len(right):
        raise ValueError(f"{len(left)} and {len(right)} utterances are no pairs")
    if _count(left, texts) < 2:
        return None
    drawn = _draws(len(left), texts, seed)
    return _middle(_less(statistic(left, drawn), statistic(right, drawn)), level)


def _less(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """`a` less `b`; of never and never nothing is left."""
    left = np.zeros(np.shape(a))
    return np.subtract(a, b, out=left, where=np.asarray(a != b))


def rows(values: ArrayLike) -> Rows:
    """(utterances,) or (utterances, columns), as the latter."""
    table = np.asarray(values, np.float64)
    return table[:, None] if table.ndim == 1 else table


def _count(values: ArrayLike, texts: Sequence[str] | None) -> int:
    return len(rows(values)) if texts is None else len(set(texts))


def _draws(utterances: int, texts: Sequence[str] | None, seed: int) -> Weights:
    """(draws, utterances): how often each utterance's text was drawn."""
    if texts is None:
        return _drawn(utterances, seed)
    known, of = np.unique(texts, return_inverse=True)
    return _drawn(len(known), seed)[:, of]


@lru_cache(maxsize=4)  # the figures of one voice are drawn alike
def _drawn(count: int, seed: int) -> Weights:
    """(draws, texts): how often each was drawn."""
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), DRAWS)
    return drawn.astype(np.float64)


def _middle(figures: NDArray[np.float64], level: float) -> Interval:
    """Two of the figures themselves, since between a number and infinity there is nothing."""
    ends = np.quantile(figures, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return Interval(float(ends[0]), float(ends[1]))
