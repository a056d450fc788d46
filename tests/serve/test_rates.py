"""What is learnt of how fast streams come, and how many of them would be real time."""

import math

import pytest

from orpheus_clone.serve.rates import ENOUGH, MEMORY, Meter, Rates
from orpheus_clone.tokens import REAL_TIME_RATE


def rate(streams: float, *, fixed_ms: float = 5.0, each_ms: float = 0.1) -> float:
    """Tokens a second of an engine whose step costs so much, and so much more for each stream."""
    return 1000 / (fixed_ms + each_ms * streams)


def most(fixed_ms: float, each_ms: float) -> float:
    return (1000 / ENOUGH - fixed_ms) / each_ms


def test_enough_is_real_time_and_a_tenth() -> None:
    assert round(ENOUGH, 2) == 90.23
    assert round(ENOUGH / REAL_TIME_RATE, 6) == 1.1


def test_before_anything_is_known_nothing_speaks_against_a_stream() -> None:
    assert Rates().capacity == math.inf


def test_what_the_start_measured_tells_how_many_streams_there_is_room_for() -> None:
    rates = Rates()
    for streams in (1, 2, 4, 8):
        rates.begin_with(streams, rate(streams))
    assert rates.capacity == pytest.approx(most(5.0, 0.1))
    assert rate(rates.capacity) == pytest.approx(ENOUGH)


def test_while_it_serves_a_node_learns_what_its_streams_really_cost() -> None:
    rates = Rates()
    for streams in (1, 2, 4, 8):
        rates.begin_with(streams, rate(streams))
    for i in range(20 * MEMORY):
        rates.learn(20 + i % 3, rate(20 + i % 3, each_ms=0.3))
    assert rates.capacity == pytest.approx(most(5.0, 0.3), rel=0.05)


def test_of_streams_that_were_always_as_many_the_start_tells_what_one_more_costs() -> None:
    rates = Rates()
    rates.begin_with(1, rate(1))
    rates.begin_with(8, rate(8))
    for _ in range(20 * MEMORY):
        rates.learn(30, rate(30, fixed_ms=7.0))
    slower = most(7.0, 0.1)
    assert 30 < rates.capacity < 1.5 * slower
    for _ in range(20 * MEMORY):
        rates.learn(30, 80.0)
    assert rates.capacity < 30


def test_what_was_long_ago_is_forgotten() -> None:
    rates = Rates()
    rates.begin_with(1, rate(1))
    rates.begin_with(8, rate(8))
    for _ in range(20 * MEMORY):
        rates.learn(30, 40.0)
    assert rates.capacity < 30
    for _ in range(5 * MEMORY):
        rates.learn(30, rate(30))
    assert rates.capacity > 50


def test_a_machine_that_is_never_in_time_has_room_for_less_than_one() -> None:
    rates = Rates()
    rates.begin_with(1, 4.0)
    assert rates.capacity == pytest.approx(4.0 / ENOUGH)


def test_streams_that_cost_nothing_more_are_as_many_as_there_may_be() -> None:
    rates = Rates()
    for streams in (1, 64):
        rates.begin_with(streams, 150.0)
    assert rates.capacity == math.inf


class Stream:
    """A stream whose time the test tells; what its meter learns is kept."""

    def __init__(self) -> None:
        self.now, self.streams = 0.0, 3
        self.learnt: list[tuple[float, float]] = []
        self.meter = Meter(lambda: self.streams, lambda *each: self.learnt.append(each), self.clock)

    def clock(self) -> float:
        return self.now

    def say(self, tokens: int, after: float, *, held: float = 0.0, is_end: bool = False) -> None:
        self.now += after
        self.meter.came(tokens, is_end=is_end)
        self.now += held
        self.meter.taken()


@pytest.fixture
def stream() -> Stream:
    return Stream()


def test_a_rate_is_of_the_tokens_after_the_first_and_each_second_tells_one(stream: Stream) -> None:
    stream.say(7, after=30.0)  # the prefill, and before it the text
    for _ in range(20):
        stream.say(10, after=0.125)
    assert stream.learnt == [(3.0, 80.0), (3.0, 80.0)]


def test_an_utterance_that_ends_within_the_second_tells_of_what_there_was(stream: Stream) -> None:
    stream.say(1, after=1.0)
    stream.say(14, after=0.25, is_end=True)
    assert stream.learnt == [(3.0, 56.0)]
    stream.say(1, after=60.0)  # the next text is waited for, and that tells nothing
    stream.say(13, after=0.25, is_end=True)
    assert len(stream.learnt) == 1, "thirteen tokens are too few to tell"


def test_a_stream_that_hardly_comes_at_all_is_known_to_be_slow(stream: Stream) -> None:
    stream.say(1, after=1.0)
    stream.say(2, after=4.0)
    assert stream.learnt == [(3.0, 0.5)]


def test_of_a_second_in_which_the_listener_held_it_up_nothing_is_learnt(stream: Stream) -> None:
    stream.say(1, after=1.0)
    stream.say(40, after=0.5, held=0.25)
    stream.say(40, after=0.5)
    assert stream.learnt == []
    stream.say(40, after=0.5, held=0.0625)
    stream.say(40, after=0.5)
    assert stream.learnt == [(3.0, 80 / 1.0625)]


def test_streams_that_come_and_go_count_with_their_mean(stream: Stream) -> None:
    stream.say(1, after=1.0)
    stream.streams = 6
    stream.say(100, after=1.0)
    assert stream.learnt == [(4.5, 100.0)]


def test_a_chunk_without_tokens_before_the_first_begins_nothing(stream: Stream) -> None:
    stream.say(0, after=1.0)
    stream.say(7, after=5.0)
    stream.say(70, after=1.0)
    assert stream.learnt == [(3.0, 70.0)]
