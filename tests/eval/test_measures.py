"""Figures and their intervals: drawn from the same utterances, they say the same."""

import math
from dataclasses import fields, replace

import pytest

from orpheus_clone.eval.gates import RULES
from orpheus_clone.eval.lines import Line
from orpheus_clone.eval.measures import BY_NAME, measure
from orpheus_clone.listening.figures import RANDOM_BASE, Figure, Figures

LINE = Line(
    text="Yes.",
    seconds=1.0,
    tokens=84,
    finish="stop",
    rate=100.0,
    first_audio_ms=200.0,
    first_speech_ms=260.0,
    underruns=0,
    head_ms=60.0,
    tail_ms=100.0,
    pace=1.0,
    heard="yes",
    words=10,
    word_edits=1,
    letters=40,
    letter_edits=2,
    similarity=0.7,
    mos=3.0,
    pitch_hz=120.0,
)
MUTE = replace(LINE, first_speech_ms=None, head_ms=None, tail_ms=None, pace=None)


def figures(**known: float) -> Figures:
    names = [field.name for field in fields(Figures)]
    return Figures(**{name: Figure(known.get(name, 0.5)) for name in names})


def of(name: str, lines: list[Line]) -> float | None:
    measure = BY_NAME[name]
    return measure.figure([row for line in lines if (row := measure.row(line)) is not None])


@pytest.mark.parametrize(
    ("lines", "median"),
    [
        ([LINE, replace(LINE, head_ms=30.0), replace(LINE, head_ms=10.0)], 30.0),
        ([LINE, MUTE, LINE], 60.0),
        ([LINE, MUTE], math.inf),
        ([MUTE], math.inf),
    ],
    ids=["three", "one mute", "half mute", "all mute"],
)
def test_a_median_counts_mute_utterances_as_never(lines: list[Line], median: float) -> None:
    assert of("head silence P50", lines) == median


def test_an_error_rate_is_of_all_words_and_never_the_mean_of_utterances() -> None:
    lines = [replace(LINE, words=1, word_edits=1), replace(LINE, words=99, word_edits=0)]
    assert of("word error rate", lines) == 0.01


def test_a_judge_that_is_missing_adds_no_rows() -> None:
    lines = [replace(LINE, similarity=None, words=None, word_edits=None)]
    assert of("similarity", lines) is None
    assert of("word error rate", lines) is None
    assert BY_NAME["similarity"].interval(lines) is None


@pytest.mark.parametrize(("tail_ms", "share"), [(0.0, 1.0), (19.9, 1.0), (20.0, 0.0), (None, 0.0)])
def test_an_ending_is_cut_where_speech_goes_on_to_it(tail_ms: float | None, share: float) -> None:
    assert of("cut endings", [replace(LINE, tail_ms=tail_ms)]) == share


@pytest.mark.parametrize(
    ("finish", "stops", "loops"),
    [("stop", 1, 0), ("length", 0, 0), ("loop", 0, 1), ("silence", 0, 1)],
)
def test_an_utterance_stops_or_loops_or_is_cut(finish: str, stops: int, loops: int) -> None:
    line = replace(LINE, finish=finish)
    assert (of("stop rate", [line]), of("loops", [line])) == (stops, loops)


def test_a_stream_rate_is_that_of_the_slowest_in_twenty_and_not_of_the_middle() -> None:
    lines = [replace(LINE, rate=60.0)] * 40 + [replace(LINE, rate=100.0)] * 60
    assert of("stream rate P5", lines) == 60.0
    measured = measure(lines, figures(), Figure(0.2), is_random=False)
    assert measured["stream rate P5"].figure.value == 60.0


def test_a_text_that_is_repeated_makes_a_figure_no_surer() -> None:
    once = [replace(LINE, text=f"{n}", similarity=0.5 + 0.1 * (n % 3)) for n in range(6)]
    often = [line for line in once for _ in range(8)]
    assert BY_NAME["similarity"].interval(often) == BY_NAME["similarity"].interval(once)
    assert BY_NAME["stop rate"].interval(often) == BY_NAME["stop rate"].interval(once)


def test_every_gate_is_measured() -> None:
    measured = measure([LINE, LINE], figures(), Figure(0.2), is_random=False)
    assert sorted(measured) == sorted(rule.name for rule in RULES)


def test_of_a_random_base_the_rate_alone_is_measured() -> None:
    unknown = Figures(*[Figure(None, RANDOM_BASE)] * len(fields(Figures)))
    measured = measure([LINE, MUTE], unknown, Figure(None, RANDOM_BASE), is_random=True)
    assert measured["stream rate P5"].figure.value == 100.0
    others = [one.figure for name, one in measured.items() if name != "stream rate P5"]
    assert {(figure.value, figure.why) for figure in others} == {(None, RANDOM_BASE)}
    assert all(measured[n].interval is None for n in measured if n != "stream rate P5")


def test_a_clone_is_so_much_nearer_than_the_nearest_stock_voice() -> None:
    lines = [replace(LINE, similarity=0.6), replace(LINE, text="No.", similarity=0.8)]
    over = measure(lines, figures(similarity=0.7), Figure(0.2), is_random=False)
    found = over["similarity over stock"]
    assert found.figure.value == pytest.approx(0.5)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((0.4, 0.6))


def test_without_a_stock_voice_there_is_nothing_to_be_nearer_than() -> None:
    none = Figure(None, "the base has no stock voice that speaks")
    found = measure([LINE], figures(), none, is_random=False)["similarity over stock"]
    assert found.figure == none
