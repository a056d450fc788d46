"""What a node remembers of a store that is far away, or gone."""

from collections.abc import Mapping

import pytest

from orpheus_clone.errors import StoreError
from orpheus_clone.serve.pointers import FRESH_SECONDS, Pointers
from orpheus_clone.store import Pointer, Store, pointer
from orpheus_clone.store.objects import Stored
from orpheus_clone.store.pointer import Move

OLD, NEW = Pointer("jack", ("jack@000000000000",)), Pointer("jack", ("jack@111111111111",))


class FarObjects:
    """A cloud that holds one pointer, counts how often it is asked, and can be away."""

    place = "s3://far"
    root = None

    def __init__(self) -> None:
        self.holds = OLD
        self.asked = 0
        self.is_away = False

    def read(self, key: str, most: int) -> Stored | None:
        self.asked += 1
        if self.is_away:
            raise StoreError("s3://far: nobody answers")
        if key != "voices/jack.jsonl":
            return None
        return Stored(pointer.dump((Move("now", "me", "publish", None, self.holds),)), "1")

    def add(self, folder: str, files: Mapping[str, bytes]) -> None: ...

    def swap(self, key: str, data: bytes, seen: str | None) -> bool:
        return True

    def names(self, folder: str) -> list[str]:
        return []

    def remove(self, folder: str) -> None: ...


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def far() -> FarObjects:
    return FarObjects()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pointers(far: FarObjects, clock: Clock) -> Pointers:
    return Pointers(Store(far), clock)


def test_a_far_store_is_asked_once_in_a_while(
    pointers: Pointers, far: FarObjects, clock: Clock
) -> None:
    assert [pointers.get("jack"), pointers.get("jack")] == [OLD, OLD]
    assert far.asked == 1
    far.holds = NEW
    clock.now = FRESH_SECONDS - 0.01
    assert pointers.get("jack") == OLD
    clock.now = FRESH_SECONDS
    assert pointers.get("jack") == NEW
    assert far.asked == 2


def test_what_this_node_moved_is_asked_for_again(pointers: Pointers, far: FarObjects) -> None:
    pointers.get("jack")
    far.holds = NEW
    pointers.forget("jack")
    assert pointers.get("jack") == NEW


def test_a_store_that_is_away_takes_no_known_voice_with_it(
    pointers: Pointers, far: FarObjects, clock: Clock
) -> None:
    pointers.get("jack")
    far.is_away = True
    clock.now = 3600
    assert pointers.get("jack") == OLD
    asked = far.asked
    assert pointers.get("jack") == OLD
    assert far.asked == asked, "a store that is away is not asked for every session"
    with pytest.raises(StoreError):
        pointers.get("jill")
    far.is_away, far.holds, clock.now = False, NEW, 7200
    assert pointers.get("jack") == NEW


def test_while_one_session_waits_for_the_store_the_others_do_not(
    pointers: Pointers, far: FarObjects, clock: Clock
) -> None:
    pointers.get("jack")
    clock.now = 3600
    meanwhile: list[Pointer] = []
    read = far.read

    def slow(key: str, most: int) -> Stored | None:
        meanwhile.append(pointers.get("jack"))
        return read(key, most)

    far.holds = NEW
    far.read = slow  # type: ignore[method-assign]
    assert pointers.get("jack") == NEW
    assert meanwhile == [OLD]


def test_a_name_that_means_nothing_is_not_remembered(pointers: Pointers, far: FarObjects) -> None:
    assert [pointers.get("nobody"), pointers.get("nobody")] == [Pointer("nobody")] * 2
    assert far.asked == 2
