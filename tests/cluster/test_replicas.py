"""Replicas: in proportion to demand, soon there, slowly given back."""

import math
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus_clone.cluster.replicas import (
    COOL_DOWN_SECONDS,
    GIVE_BACK,
    LEAST_SESSIONS,
    NODE_SHARE,
    Replicas,
)

TICK = 2.0
NODES = 10
BACKGROUND = 1000
"""Sessions of all voices together; a node speaks a hundred of them."""


class Watched:
    """Replicas of one voice among many others, on a clock that ticks."""

    def __init__(self) -> None:
        self.now = 50.0
        self.replicas = Replicas(lambda: self.now)

    def tick(self, sessions: int, nodes: int = NODES, background: int = BACKGROUND) -> int:
        """How many nodes speak the voice after one tick."""
        self.now += TICK
        wanted = {"jack": sessions, "others": background - sessions}
        self.replicas.observe({name: count for name, count in wanted.items() if count}, nodes)
        return self.replicas.of("jack")

    def settle(self, sessions: int, nodes: int = NODES) -> int:
        """How many once the demand has been so for long."""
        return [self.tick(sessions, nodes) for _ in range(100)][-1]


def test_a_voice_that_nobody_wants_has_the_node_that_prefers_it() -> None:
    assert Replicas().of("jack") == 1
    assert Watched().settle(0) == 1


def test_no_voice_is_more_than_a_fifth_of_what_a_node_speaks() -> None:
    share = NODE_SHARE * BACKGROUND / NODES
    assert share == 20
    for sessions, replicas in ((1, 1), (20, 1), (21, 2), (40, 2), (100, 5)):
        assert Watched().settle(sessions) == replicas


def test_a_voice_is_on_as_many_nodes_as_there_are_at_most() -> None:
    watched = Watched()
    assert watched.settle(900) == NODES
    assert watched.tick(900, nodes=3) == 3
    assert watched.tick(900, nodes=0) == 1


def test_a_few_sessions_are_not_worth_a_second_node_though_there_are_no_others() -> None:
    watched = Watched()
    for _ in range(50):
        watched.tick(LEAST_SESSIONS, background=LEAST_SESSIONS)
    assert watched.replicas.of("jack") == 1
    for _ in range(50):
        watched.tick(LEAST_SESSIONS + 1, background=LEAST_SESSIONS + 1)
    assert watched.replicas.of("jack") == 2


def test_demand_that_jumps_brings_replicas_within_seconds_and_a_moment_of_it_not_all() -> None:
    watched = Watched()
    watched.settle(1)
    first = watched.tick(100)
    assert 1 < first < 5
    seen = [watched.tick(100) for _ in range(16)]
    assert seen == sorted(seen)
    assert seen[-1] == 5


def test_replicas_go_back_one_at_a_time_after_the_demand_has_been_low_for_a_while() -> None:
    watched = Watched()
    assert watched.settle(100) == 5
    seen = [watched.tick(1) for _ in range(60)]
    assert seen[0] == 5
    assert seen[-1] == 1
    steps = [now - then for now, then in pairwise([5, *seen])]
    assert set(steps) == {0, 1}
    falls = [i for i, step in enumerate(steps) if step]
    assert falls[0] * TICK > COOL_DOWN_SECONDS
    assert min((b - a) * TICK for a, b in pairwise(falls)) >= COOL_DOWN_SECONDS


def test_what_nobody_wants_any_more_is_forgotten() -> None:
    watched = Watched()
    watched.settle(100)
    for _ in range(100):
        watched.tick(0, background=0)
    assert not watched.replicas._demands


@settings(max_examples=30, deadline=None)
@given(top=st.integers(30, 900), data=st.data())
def test_demand_that_stays_within_its_hysteresis_never_gives_a_replica_back(
    top: int, data: st.DataObject
) -> None:
    watched = Watched()
    held = watched.settle(top)
    low = math.ceil(GIVE_BACK * top)
    for sessions in data.draw(st.lists(st.integers(low, top), min_size=30, max_size=60)):
        assert watched.tick(sessions) == held


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 12)), max_size=60))
def test_there_are_never_more_replicas_than_nodes_and_always_one(
    ticks: list[tuple[int, int]],
) -> None:
    watched = Watched()
    for sessions, nodes in ticks:
        assert 1 <= watched.tick(sessions, nodes) <= max(1, nodes)
