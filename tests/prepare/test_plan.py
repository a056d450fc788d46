from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.prepare import plan
from orpheus_clone.prepare.plan import Edge, divide


def edge(time_s: float, cost: float = 0.0, pause_s: float = 0.0) -> Edge:
    """In speech without silence: all of the time is speech."""
    return Edge(time_s, time_s, cost, time_s, pause_s)


def spans(edges: list[Edge], shortest_s: float = 2, longest_s: float = 20) -> list[tuple[int, int]]:
    return divide(edges, shortest_s, longest_s)


def test_sentences_are_preferred_to_other_places() -> None:
    assert spans([edge(0), edge(6, 1), edge(9), edge(12, 1), edge(18)]) == [(0, 2), (2, 4)]


def test_lengths_in_the_middle_are_preferred() -> None:
    assert spans([edge(time) for time in (0, 2, 4, 6, 8, 10, 12)]) == [(0, 3), (3, 6)]


def test_the_limits_hold_to_the_last() -> None:
    assert spans([edge(0), edge(20)]) == [(0, 1)]
    assert spans([edge(0), edge(20.01)]) == []
    assert spans([edge(0), edge(2)]) == [(0, 1)]
    assert spans([edge(0), edge(1.99)]) == []


def test_a_stretch_without_a_cut_is_left_out_and_the_rest_is_kept() -> None:
    assert spans([edge(0), edge(5), edge(30), edge(35)]) == [(0, 1), (2, 3)]


def test_a_cut_in_a_sentence_is_better_than_losing_speech() -> None:
    assert spans([edge(0), edge(12, 1), edge(24)]) == [(0, 1), (1, 2)]


def test_a_long_pause_is_not_put_into_a_clip() -> None:
    def over(pause_s: float) -> list[tuple[int, int]]:
        second = 3 + pause_s
        return spans(
            [
                edge(0),
                Edge(3, second, 0.0, 3.0, pause_s),
                Edge(second + 1.5, second + 1.5, 0.0, 4.5),
            ]
        )

    assert over(1.0) == [(0, 2)]
    assert over(12.0) == [(0, 1)]


def test_nothing_goes_over_a_barrier_but_clips_begin_and_end_at_it() -> None:
    barrier = Edge(3, 4, 0.0, 3.0, 1.0, is_barrier=True)
    assert spans([edge(0), barrier, edge(7)]) == [(0, 1), (1, 2)]
    assert spans([edge(0), Edge(1, 2, 0.0, 1.0, 1.0, is_barrier=True), edge(3)]) == []


def test_an_edge_may_be_for_one_side_only() -> None:
    assert spans([edge(0), Edge(None, 5, 0.0, 5.0), edge(10)]) == [(0, 2)]
    assert spans([edge(0), Edge(5, None, 0.0, 5.0), edge(30)]) == [(0, 1)]
    assert spans([edge(0), Edge(None, 25, 0.0, 25.0), edge(30)]) == [(1, 2)]
    assert spans([Edge(None, None, 0.0, 0.0), edge(5), edge(10)]) == [(1, 2)]


def test_silence_makes_no_clip_and_nothing_makes_none() -> None:
    assert spans([Edge(0, 0, 0, 0), Edge(5, 5, 0, 0)]) == []
    assert spans([edge(0)]) == []
    assert spans([]) == []


@st.composite
def recordings(draw: st.DrawFn) -> list[Edge]:
    steps = draw(st.lists(st.floats(0.3, 9), min_size=1, max_size=7))
    edges, at, speech = [], 0.0, 0.0
    for step in [0.0, *steps]:
        pause = draw(st.floats(0, 3))
        spoken = at + step
        speech += step
        sides = draw(st.sampled_from([(True, True), (True, True), (True, False), (False, True)]))
        edges.append(
            Edge(
                spoken if sides[0] else None,
                spoken + pause if sides[1] else None,
                draw(st.sampled_from([0.0, 0.6, 1.0])),
                speech,
                pause,
                is_barrier=draw(st.booleans()) and draw(st.booleans()),
            )
        )
        at = spoken + pause
    return edges


def cost(edges: list[Edge], clips: list[tuple[int, int]]) -> float:
    """What a division costs, told once more and without haste."""
    lost = edges[-1].speech_s - edges[0].speech_s
    total = 0.0
    for first, last in clips:
        if any(edges[i].is_barrier for i in range(first + 1, last)):
            return float("inf")
        total += plan._cost(edges[first], edges[last], 2, 12)
        inside = edges[first + 1 : last]
        total += sum(plan.PAUSE_A_SECOND * max(0, e.pause_s - plan.PAUSE_S) for e in inside)
        lost -= edges[last].speech_s - edges[first].speech_s
    return total + plan.LOST_A_SECOND * lost


def divisions(n: int) -> list[list[tuple[int, int]]]:
    """Every way to put clips between n edges."""
    every = [[]]  # type: list[list[tuple[int, int]]]
    pairs = list(combinations(range(n), 2))
    for pair in pairs:
        every += [[*before, pair] for before in every if not before or before[-1][1] <= pair[0]]
    return every


@given(recordings())
def test_no_other_division_is_cheaper(edges: list[Edge]) -> None:
    found = divide(edges, 2, 12)
    cheapest = min(cost(edges, clips) for clips in divisions(len(edges)))
    assert cost(edges, found) == pytest.approx(cheapest)
    for (_, end), (start, _) in pairwise(found):
        assert end <= start
