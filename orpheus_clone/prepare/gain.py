"""One gain for the whole corpus: a voice keeps its own louder and softer clips.

A corpus that grows keeps the gain it had while that is near enough, so that what was tokenized
stays as it is.
"""

from collections.abc import Sequence

import numpy as np

NEAR_DB = 1.5
"""A gain that was used before is kept if it misses by no more."""
PEAK = 0.98


def corpus_gain_db(
    loudness: Sequence[tuple[float, float]],
    peak: float,
    target_lufs: float,
    before_db: float | None,
) -> float:
    """From (LUFS, seconds) of each clip and the corpus's highest peak, 0 to 1.

    Never so much that the peak would clip. Silent clips (-inf LUFS) do not count.
    """
    heard = [(10 ** (lufs / 10), seconds) for lufs, seconds in loudness if np.isfinite(lufs)]
    if not heard:
        return 0.0
    powers, weights = zip(*heard, strict=True)
    mean_lufs = 10 * np.log10(np.average(powers, weights=weights))
    most_db = 20 * np.log10(PEAK / peak) if peak > 0 else 0.0
    gain_db = round(float(min(target_lufs - mean_lufs, most_db)), 1)
    if before_db is not None and abs(before_db - gain_db) <= NEAR_DB and before_db <= most_db:
        return before_db
    # Rounded to a tenth downwards, so that the peak stays below full scale.
    return float(np.floor(min(gain_db, most_db) * 10) / 10)
