"""The figures of an evaluation, by hand: medians with mute utterances in them, and moments."""

import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.eval.report import Line
from orpheus_clone.eval.run import RANDOM_BASE, _line, _measure, _percentile, _spoken, prompt_set
from orpheus_clone.eval.speed import Arrival, Utterance
from orpheus_clone.models import BaseModel
from tests.signals import joined, noise, tone, zeros

LINE = Line(
    text="Yes.",
    seconds=1.0,
    tokens=84,
    is_stopped=True,
    rate=100.0,
    first_audio_ms=200.0,
    first_speech_ms=260.0,
    head_silence_ms=60.0,
    tail_silence_ms=100.0,
)
MUTE = replace(LINE, first_speech_ms=None, head_silence_ms=None, tail_silence_ms=None)


@pytest.fixture
def trained(base: BaseModel) -> BaseModel:
    return replace(base, is_random=False)


def spoken(values: list[float | None]) -> float | None:
    return _spoken([LINE] * len(values), values).value


@pytest.mark.parametrize(
    ("values", "median"),
    [
        ([10.0, 30.0, 20.0], 20.0),
        ([10.0, 20.0], 15.0),
        ([10.0, 20.0, None], 20.0),
        ([10.0, 20.0, 30.0, None], 25.0),
        ([10.0, None], math.inf),
        ([10.0, 20.0, None, None], math.inf),
        ([10.0, None, None], math.inf),
        ([None], math.inf),
    ],
)
def test_the_median_counts_mute_utterances_as_never(
    values: list[float | None], median: float
) -> None:
    assert spoken(values) == median


@given(st.lists(st.none() | st.integers(0, 5000), min_size=1, max_size=30))
def test_the_median_is_that_of_the_list_with_infinity_for_the_mute(
    values: list[int | None],
) -> None:
    never = statistics.median([math.inf if value is None else value for value in values])
    assert spoken([None if value is None else float(value) for value in values]) == never


def test_a_mostly_mute_voice_says_how_many_utterances_hold_speech() -> None:
    assert _spoken([LINE, MUTE], [60.0, None]).why == "only 1 of 2 utterances hold speech"


def test_percentiles_by_hand() -> None:
    assert _percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.5
    assert _percentile([0.0, 100.0], 95) == 95.0
    assert _percentile([7.0], 5) == 7.0
    assert _percentile([], 50) is None


def test_of_a_random_base_only_the_rate_is_measured(base: BaseModel) -> None:
    measured = _measure([LINE, MUTE], base)
    assert measured.stream_rate.value == 100.0
    for figure in (
        measured.first_speech_p50_ms,
        measured.head_silence_p50_ms,
        measured.stop_rate,
    ):
        assert (figure.value, figure.why) == (None, RANDOM_BASE)


def test_of_a_trained_base_everything_is_measured(trained: BaseModel) -> None:
    cut = replace(LINE, is_stopped=False, rate=80.0, head_silence_ms=80.0)
    measured = _measure([LINE, LINE, LINE, cut], trained)
    assert measured.stream_rate.value == 100.0
    assert measured.head_silence_p50_ms.value == 60.0
    assert measured.first_speech_p50_ms.value == 260.0
    assert measured.stop_rate.value == 0.75


ARRIVALS = [Arrival(0.1, 2400), Arrival(0.5, 4800), Arrival(0.6, 12_000)]


def utterance(arrivals: list[Arrival]) -> Utterance:
    sound = joined(noise(100, -70), tone(300, -20), noise(100, -70))
    return Utterance("Yes.", sound, 71, "stop", 0.08, 0.78, arrivals)


@pytest.mark.parametrize(
    ("position_ms", "heard_ms"),
    [
        (0, 100),  # at once with the first samples, which hold 100 ms
        (50, 150),  # there already, and played 50 ms later
        (100, 200),
        (101, 500),  # the player waits for the second arrival
        (200, 500),
        (450, 600),
        (480, 600),
        (490, 600),
        (500, 600),  # arrived at 600, and played from 100 on without a pause
        (501, 780),  # never arrived: at the end
    ],
)
def test_speech_is_heard_when_it_has_arrived_and_been_played_up_to(
    position_ms: float, heard_ms: float
) -> None:
    assert utterance(ARRIVALS).heard_at_ms(position_ms) == pytest.approx(heard_ms)


def test_the_rate_is_of_the_tokens_after_the_first() -> None:
    assert utterance(ARRIVALS).rate == pytest.approx(70 / 0.7)
    assert utterance(ARRIVALS).first_audio_ms == 100


def test_a_line_says_when_speech_is_first_heard(trained: BaseModel) -> None:
    line = _line(utterance([Arrival(0.1, 12_000)]), trained)
    assert line.head_silence_ms == pytest.approx(100, abs=15)
    assert line.first_speech_ms == pytest.approx(200, abs=15)
    assert line.tail_silence_ms == pytest.approx(100, abs=25)
    assert (line.seconds, line.tokens, line.is_stopped) == (0.5, 71, True)


def test_a_line_of_silence_has_no_speech_and_no_number_for_it(trained: BaseModel) -> None:
    line = _line(replace(utterance(ARRIVALS), samples=zeros(500), finish="length"), trained)
    assert (line.head_silence_ms, line.tail_silence_ms, line.first_speech_ms) == (None, None, None)
    assert not line.is_stopped


def test_in_the_noise_of_a_random_base_nobody_looks_for_speech(base: BaseModel) -> None:
    line = _line(utterance(ARRIVALS), base)
    assert (line.head_silence_ms, line.tail_silence_ms, line.first_speech_ms) == (None, None, None)


def test_the_prompt_set_repeats_when_more_are_wanted() -> None:
    assert len(set(prompt_set(20))) == 20
    assert prompt_set(45) == (prompt_set(20) * 3)[:45]
    assert all(prompt_set(20))
