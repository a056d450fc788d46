"""What a voice's name means after each move, worked out by hand, and the log of it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.errors import ArtifactError, RecipeError, UnknownVoice
from orpheus_clone.store import pointer
from orpheus_clone.store.pointer import KEPT, Canary, Move, Pointer

A, B, C = ("jack@" + letter * 12 for letter in "abc")
NOTHING = Pointer("jack")
ONE = Pointer("jack", (A,))
TWO = Pointer("jack", (A, B))
TRIED = Pointer("jack", (A,), Canary(B, 0.1))


def test_a_published_bundle_is_current_and_the_one_before_is_the_way_back() -> None:
    assert NOTHING.current is None
    assert NOTHING.published(A) == ONE
    assert ONE.published(B) == TWO
    assert (TWO.current, TWO.rolled_back()) == (B, ONE)


def test_publishing_what_is_current_changes_nothing() -> None:
    assert TWO.published(B) == TWO


def test_publishing_an_older_bundle_makes_it_the_last_once() -> None:
    assert TWO.published(A).bundles == (B, A)


def test_publishing_ends_a_canary() -> None:
    assert TRIED.published(C) == Pointer("jack", (A, C))


def test_only_so_many_ways_back_are_kept() -> None:
    moved = NOTHING
    for number in range(KEPT + 1):
        moved = moved.published(f"jack@{number:012}")
    assert len(moved.bundles) == KEPT
    assert (moved.bundles[0], moved.bundles[-1]) == ("jack@000000000001", f"jack@{KEPT:012}")


def test_a_canary_leaves_the_current_bundle_where_it_is() -> None:
    assert ONE.released(B, 0.1) == TRIED
    assert TRIED.released(B, 0.5) == Pointer("jack", (A,), Canary(B, 0.5))
    assert TRIED.current == A


def test_a_canary_that_every_session_speaks_with_already_changes_nothing() -> None:
    assert TRIED.promoted().released(B, 0.1) == TWO


def test_without_a_current_bundle_only_a_canary_that_nobody_hears_may_wait() -> None:
    with pytest.raises(RecipeError, match="no bundle that the other sessions could speak with"):
        NOTHING.released(A, 0.01)
    staged = NOTHING.released(A, 0.0)
    assert (staged.current, staged.shown) == (None, A)
    assert staged.for_session("anybody") == (None, "current")
    assert staged.promoted() == ONE


def test_a_promoted_canary_is_current_and_can_be_taken_back() -> None:
    assert TRIED.promoted() == TWO
    assert TRIED.promoted().rolled_back() == ONE


def test_a_rollback_takes_back_the_canary_first() -> None:
    assert TRIED.rolled_back() == ONE


def test_what_is_not_there_cannot_be_moved() -> None:
    with pytest.raises(ArtifactError, match="no canary to promote; publish one with --canary 10%"):
        ONE.promoted()
    with pytest.raises(ArtifactError, match="no earlier bundle to go back to"):
        ONE.rolled_back()
    for did in ("promote", "rollback", "unpublish"):
        with pytest.raises(UnknownVoice, match="no voice 'jack'"):
            NOTHING.after(did)


def test_an_unpublished_name_means_nothing_and_can_be_given_again() -> None:
    assert TWO.after("unpublish") == NOTHING
    assert NOTHING.released(A, 0.0).after("unpublish") == NOTHING
    assert TWO.after("unpublish").published(C) == Pointer("jack", (C,))


def test_without_a_canary_every_session_hears_the_current_bundle() -> None:
    assert TWO.for_session("s") == (B, "current")


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.1, 80, 120), (1.0, 1000, 1000)])
def test_a_share_of_sessions_hears_the_canary(share: float, low: int, high: int) -> None:
    tried = ONE.released(B, share)
    heard = [tried.for_session(f"session {i}") for i in range(1000)]
    assert low <= heard.count((B, "canary")) <= high
    assert heard.count((B, "canary")) + heard.count((A, "current")) == 1000


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_session_stays_where_it_is_and_in_a_share_that_grows(
    session: str, one: float, other: float
) -> None:
    small, large = (ONE.released(B, share) for share in sorted((one, other)))
    assert small.for_session(session) == small.for_session(session)
    if small.for_session(session)[1] == "canary":
        assert large.for_session(session)[1] == "canary"


def test_the_next_canary_is_tried_on_other_sessions() -> None:
    def heard(bundle: str) -> set[int]:
        tried = ONE.released(bundle, 0.5)
        return {i for i in range(100) if tried.for_session(str(i))[1] == "canary"}

    assert heard(B) != heard(C)


MOVES = (
    Move("2026-11-25T21:00:00+00:00", "jane@laptop", "publish", None, ONE),
    Move("2026-11-25T22:00:00+00:00", "ci (key 12345678)", "canary", "Übung", TRIED),
    Move("2026-11-25T23:00:00+00:00", "jane@laptop", "promote", None, TWO),
)


def test_a_log_is_a_line_a_move_and_reads_back() -> None:
    written = pointer.dump(MOVES)
    assert written.count(b"\n") == 3
    assert json.loads(written.splitlines()[1])["why"] == "Übung"
    assert pointer.parse(written, "log") == MOVES
    assert pointer.parse(b"", "log") == ()


def test_the_history_says_who_moved_it_from_where_to_where() -> None:
    rows = pointer.history(MOVES)
    assert [(row["did"], row["from"], row["to"]) for row in rows] == [
        ("publish", None, A),
        ("canary", A, A),
        ("promote", A, B),
    ]
    assert [row["canary"] for row in rows] == [None, f"{B} 10%", None]
    assert (rows[1]["by"], rows[1]["why"]) == ("ci (key 12345678)", "Übung")


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"at": 1}', b"\xff", b"null"])
def test_a_line_that_is_no_move_is_named(line: bytes) -> None:
    with pytest.raises(ArtifactError, match="store/jack:2: is no move"):
        pointer.parse(pointer.dump(MOVES[:1]) + line, "store/jack")


@pytest.mark.parametrize(
    "name", ["../../etc@000000000000", "jill@000000000000", "jack", "jack@0/../../../x", "", "@"]
)
def test_a_name_that_is_no_bundle_of_the_voice_is_no_move(name: str) -> None:
    for odd in (Pointer("jack", (A, name)), Pointer("jack", (A,), Canary(name, 0.1))):
        with pytest.raises(ArtifactError, match=r"log:1: is no move .* is no bundle of its voice"):
            pointer.parse(pointer.dump((replace(MOVES[0], pointer=odd),)), "log")


names = st.from_regex(r"jack@[0-9a-f]{12}", fullmatch=True)
pointers = st.builds(
    Pointer,
    st.just("jack"),
    st.lists(names, unique=True, max_size=KEPT).map(tuple),
    st.none() | st.builds(Canary, names, st.floats(0, 1)),
)


@given(st.lists(st.builds(lambda p: replace(MOVES[0], pointer=p), pointers), max_size=5))
def test_every_log_reads_back(moves: list[Move]) -> None:
    assert pointer.parse(pointer.dump(tuple(moves)), "log") == tuple(moves)


@given(pointers, names)
def test_a_rollback_undoes_what_was_published(before: Pointer, name: str) -> None:
    plain = replace(before, canary=None)
    if before.current is None or name in before.bundles or len(before.bundles) == KEPT:
        return
    assert before.published(name).rolled_back() == plain
