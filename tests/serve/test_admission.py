"""Who is admitted: as many as all stay in real time, and what the others are told."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from orpheus_clone.errors import Busy, EngineDead
from orpheus_clone.serve.admission import RESERVED_S, Admission, Promise
from orpheus_clone.serve.rates import ENOUGH


class Time:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


Maker = Callable[..., Admission]


@pytest.fixture
def admission(time: Time) -> Maker:
    """Makes one that knows that it has room for so many streams."""

    def make(capacity: float = 2.5, *, lives: bool = True, **promise: object) -> Admission:
        made = Admission(lambda: lives, Promise(**promise), time)  # type: ignore[arg-type]
        made.rates.begin_with(capacity, ENOUGH)
        made.rates.begin_with(capacity / 2, 2 * ENOUGH)
        assert made.rates.capacity == pytest.approx(capacity)
        return made

    return make


def test_sessions_are_admitted_until_one_more_stream_would_be_late(admission: Maker) -> None:
    node = admission(2.5)
    assert node.capacity == 2
    with node.admitted(), node.admitted():
        assert node.sessions == 2
        with pytest.raises(
            Busy, match=r"as many speak here \(2\) as each get the 90 tokens a second"
        ):
            node.check()
    assert node.sessions == 0


def test_a_session_that_says_nothing_keeps_no_place(admission: Maker, time: Time) -> None:
    node = admission(1.5)
    with ExitStack() as silent:
        for _ in range(100):
            silent.enter_context(node.admitted())
            with pytest.raises(Busy):
                node.check()  # it may be about to speak
            time.now += RESERVED_S
            node.check()
        assert node.sessions == 100
        with node.turn(), pytest.raises(Busy):
            node.check()


def test_one_that_has_begun_to_speak_counts_once(admission: Maker) -> None:
    node = admission(2.5)
    with node.admitted(), node.turn():
        node.begun()
        with node.admitted(), pytest.raises(Busy):
            node.check()


def test_one_that_speaks_again_takes_nobodys_place(admission: Maker) -> None:
    node = admission(2.5)
    with node.admitted():
        node.begun()
        with node.admitted(), node.turn(), pytest.raises(Busy):
            node.check()


def test_text_of_a_session_waits_while_as_many_speak_as_may(admission: Maker) -> None:
    node = admission(1.5)
    with node.turn(), pytest.raises(Busy), node.turn():
        pass
    with node.turn():
        assert node.streams == 1
    assert node.streams == 0


def test_who_waits_for_room_is_told_when_there_is_more(admission: Maker) -> None:
    node = admission()
    waiting = node.changed
    node.tell()
    assert waiting.is_set()
    assert not node.changed.is_set(), "of the next time another tells"


def test_a_machine_that_is_never_in_time_speaks_to_one(admission: Maker) -> None:
    node = admission(0.05)
    with node.admitted(), node.turn(), pytest.raises(Busy):
        node.check()
    with node.admitted():
        pass


def test_where_everybody_is_admitted_nobody_is_refused(admission: Maker) -> None:
    node = admission(0.05, admits_all=True)
    with node.admitted(), node.turn(), node.admitted(), node.turn():
        node.check()


def test_there_are_never_more_streams_than_the_engine_generates_at_a_time(admission: Maker) -> None:
    assert admission(100.0, max_streams=64).capacity == 64
    assert admission(50.0, max_streams=64).capacity == 50


def test_what_was_set_is_a_hard_bound_of_sessions(admission: Maker, time: Time) -> None:
    node = admission(100.0, max_sessions=1, admits_all=True)
    with node.admitted():
        time.now += RESERVED_S
        with pytest.raises(Busy, match="1 sessions, and --max-sessions is no more"):
            node.check()
    node.check()


def test_a_node_that_stops_takes_nobody_and_says_that_others_do(admission: Maker) -> None:
    node = admission(admits_all=True)
    with node.admitted():
        node.is_draining = True
        with pytest.raises(Busy, match="about to stop") as caught:
            node.check()
        with node.turn():  # those that it has speak on
            pass
    assert caught.value.retry_after_s == 1


def test_a_node_whose_engine_is_dead_takes_nobody(admission: Maker) -> None:
    with pytest.raises(EngineDead, match="restart this node"):
        admission(lives=False).check()


def test_what_is_refused_counts_nowhere(admission: Maker) -> None:
    node = admission(1.5)
    with node.admitted():
        with pytest.raises(Busy), node.admitted():
            pass
        assert node.sessions == 1
    with node.turn():
        pass
    node.check()
