"""What a node makes of what the registry says, and of what it does not."""

from orpheus_clone.cluster.registry import TTL_SECONDS, Fleet
from orpheus_clone.cluster.view import SILENCE_SECONDS, View
from tests.cluster.conftest import node

ME, TWO, THREE = node("me"), node("two"), node("three")


class Told:
    """A view, the clock that it looks at, and what it knows after each word of the registry."""

    def __init__(self) -> None:
        self.now = 100.0
        self.view = View(ME, lambda: self.now)

    def hears(self, *ids: str, was_known: bool = True) -> set[str]:
        self.view.update(Fleet(7, [node(name) for name in ids]), ME, was_known=was_known)
        return set(self.view.nodes)


def test_a_node_knows_itself_before_the_registry_says_anything_and_whatever_it_says() -> None:
    told = Told()
    assert told.view.nodes == {"me": ME}
    assert told.hears("two", was_known=False) == {"me", "two"}
    assert told.view.version == 7


def test_who_is_missing_is_gone() -> None:
    told = Told()
    told.hears("me", "two", "three", was_known=False)
    assert told.hears("me", "three") == {"me", "three"}


def test_what_is_said_now_counts_for_oneself_too() -> None:
    told = Told()
    old = node("me", beat=3)
    now = node("me", beat=4)
    told.view.update(Fleet(1, [old, TWO]), now, was_known=True)
    assert told.view.nodes == {"me": now, "two": TWO}


def test_a_registry_that_has_forgotten_this_node_has_forgotten_the_others_too() -> None:
    told = Told()
    told.hears("me", "two", "three", was_known=False)
    told.now += 1
    assert told.hears("me", was_known=False) == {"me", "two", "three"}
    for seconds in (2.0, 2.0, TTL_SECONDS - 4.25):
        told.now += seconds
        assert told.hears("me", "two") == {"me", "two", "three"}
    told.now += 0.25
    assert told.hears("me", "two") == {"me", "two"}


def test_after_a_long_silence_of_the_registry_others_get_time_to_come_back() -> None:
    told = Told()
    told.hears("me", "two")
    told.now += SILENCE_SECONDS
    assert told.hears("me", "two", "three") == {"me", "two", "three"}
    told.now += SILENCE_SECONDS + 0.1
    assert told.hears("me") == {"me", "two", "three"}
    told.now += 2
    assert told.hears("me") == {"me", "two", "three"}
    for _ in range(3):
        told.now += 2
        last = told.hears("me", "three")
    assert last == {"me", "three"}


def test_a_silence_begins_when_a_heartbeat_is_first_seen_and_ends_with_the_next() -> None:
    told = Told()
    first, second = node("two", beat=1), node("two", beat=2)
    assert told.view.silence(first) == 0.0
    for beat, seconds, silence in [(first, 0.0, 0.0), (first, 2.5, 2.5), (second, 2.5, 0.0)]:
        told.now += seconds
        told.view.update(Fleet(1, [beat]), ME, was_known=True)
        assert told.view.silence(beat) == silence
    again = node("two", beat=2, incarnation="second")
    told.now += 1.0
    told.view.update(Fleet(1, [again]), ME, was_known=True)
    assert told.view.silence(again) == 0.0
