"""Points by hand: percentiles, when real time is broken, and what is tried next."""

from dataclasses import replace

import numpy as np
import pytest

from orpheus_clone.eval.speed import Arrival, Utterance
from orpheus_clone.eval.sweep import (
    Point,
    cost_per_hour,
    next_concurrency,
    point,
    real_time_streams,
    utterances_at,
)
from orpheus_clone.tokens import REAL_TIME_RATE
from tests.signals import joined, noise, tone


def utterance(rate: float, first_s: float = 0.1, *, late: bool = False) -> Utterance:
    """Half a second in two arrivals, the second one in time or late."""
    sound = joined(noise(100, -70), tone(400, -20))
    second_s = first_s + (0.4 if late else 0.2)
    return Utterance(
        "Yes.",
        sound,
        71,
        "stop",
        0.05,
        0.05 + 70 / rate,
        [Arrival(first_s, 6000), Arrival(second_s, 12_000)],
        decoded_s=first_s,
        decoding_s=0.01,
    )


POINT = point([utterance(100.0)] * 2, 4, 1, is_random=False)


def at(concurrency: int, rate: float) -> Point:
    return replace(POINT, concurrency=concurrency, rate_p5=rate)


def test_a_point_has_the_percentiles_of_its_streams() -> None:
    spoken = [utterance(100.0, 0.1), utterance(200.0, 0.2), utterance(300.0, 0.3)]
    found = point(spoken, 3, 2, is_random=False)
    assert (found.concurrency, found.adapters, found.utterances) == (3, 2, 3)
    assert found.rate_p50 == pytest.approx(200)
    assert found.rate_p5 == pytest.approx(110)
    assert found.first_audio_p50_ms == 200
    assert found.first_audio_p95_ms == pytest.approx(290)
    assert found.first_speech_p50_ms == pytest.approx(300, abs=15)
    assert (found.prefill_p50_ms, found.codec_p50_ms) == (50, 10)
    assert found.tokens_p50_ms == pytest.approx(140)
    assert found.silence_p50_ms == pytest.approx(100, abs=15)


def test_of_a_random_base_speech_is_not_looked_for() -> None:
    found = point([utterance(100.0)], 1, 1, is_random=True)
    assert (found.first_speech_p50_ms, found.silence_p50_ms) == (None, None)
    assert found.first_audio_p50_ms == 100


def test_a_listener_who_runs_out_breaks_real_time() -> None:
    found = point([utterance(100.0)] * 9 + [utterance(100.0, late=True)], 1, 1, is_random=False)
    assert (found.underruns, found.starved_share) == (1, 0.1)
    assert found.starved_max_ms == pytest.approx(150)
    assert not found.is_real_time
    assert replace(found, starved_share=0.01).is_real_time


def test_real_time_is_a_rate_that_95_of_100_streams_have() -> None:
    assert at(1, REAL_TIME_RATE).is_real_time
    assert not at(1, REAL_TIME_RATE - 0.01).is_real_time


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ([at(10, 100)], 1),  # the prompt set's own is there already
        ([at(10, 100), at(1, 150), at(2, 140), at(4, 130)], 16),
        ([at(10, 60)], 1),  # beyond it nothing is tried, below it is
        ([at(10, 60), at(1, 150), at(2, 60)], None),
        ([at(10, 60), at(1, 60)], None),
        ([at(n, 100) for n in (1, 2, 4, 10, 16)], None),
    ],
    ids=["start", "upwards", "broken at first", "broken", "never", "all"],
)
def test_the_next_is_the_smallest_below_where_real_time_broke(
    measured: list[Point], expected: int | None
) -> None:
    assert next_concurrency([16, 4, 2, 1, 10], measured) == expected


@pytest.mark.parametrize(
    ("measured", "streams"),
    [
        ([at(1, 100), at(2, 90), at(4, 70)], 2),
        ([at(1, 70), at(2, 90)], 0),  # real time above what is not was luck
        ([at(4, 90), at(1, 100)], 4),
    ],
)
def test_the_streams_in_real_time_are_counted_from_below(
    measured: list[Point], streams: int
) -> None:
    assert real_time_streams(measured) == streams


def test_an_hour_of_audio_costs_what_its_share_of_the_machine_does() -> None:
    assert cost_per_hour(2.0, 20) == pytest.approx(0.1)
    assert cost_per_hour(None, 20) is None
    assert cost_per_hour(2.0, 0) is None


def test_every_stream_speaks_twice_and_eight_utterances_are_the_fewest() -> None:
    assert [utterances_at(n) for n in (1, 4, 5, 64)] == [8, 8, 10, 128]
    assert np.isfinite(POINT.rate_p5)
