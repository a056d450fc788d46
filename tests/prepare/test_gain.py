import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.prepare.gain import PEAK, corpus_gain_db

CLIPS = st.lists(st.tuples(st.floats(-60, -5), st.floats(0.1, 20)), min_size=1, max_size=9)


def test_equal_clips_get_what_brings_them_to_the_target() -> None:
    assert corpus_gain_db([(-26.0, 2.0), (-26.0, 9.0)], 0.1, -20, None) == 6.0
    assert corpus_gain_db([(-14.0, 2.0)], 0.9, -20, None) == -6.0


def test_the_mean_is_of_powers_weighted_by_time() -> None:
    # Nine seconds at -20 and one at -30 LUFS: 10 log10(0.9 * 0.01 + 0.1 * 0.001) = -20.4.
    assert corpus_gain_db([(-20.0, 9.0), (-30.0, 1.0)], 0.1, -20, None) == pytest.approx(0.4)


def test_silent_clips_do_not_count() -> None:
    assert corpus_gain_db([(-26.0, 1.0), (-math.inf, 99.0)], 0.1, -20, None) == 6.0
    assert corpus_gain_db([(-math.inf, 1.0)], 0.0, -20, None) == 0.0
    assert corpus_gain_db([], 0.0, -20, None) == 0.0


def test_a_corpus_that_grew_keeps_its_gain_while_that_is_near() -> None:
    assert corpus_gain_db([(-26.0, 1.0)], 0.1, -20, 7.5) == 7.5
    assert corpus_gain_db([(-26.0, 1.0)], 0.1, -20, 7.6) == 6.0


def test_a_gain_that_would_clip_is_not_kept() -> None:
    # 0.98 / 0.45 is 6.76 dB.
    assert corpus_gain_db([(-26.0, 1.0)], 0.45, -20, 6.9) == 6.0


@given(clips=CLIPS, peak=st.floats(0.001, 1), before=st.none() | st.floats(-30, 60))
def test_nothing_ever_clips(
    clips: list[tuple[float, float]], peak: float, before: float | None
) -> None:
    gain_db = corpus_gain_db(clips, peak, -20, before)
    assert peak * 10 ** (gain_db / 20) <= PEAK + 1e-9
