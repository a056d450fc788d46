"""What a node remembers of a store that is far away, or gone."""

import threading
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
        self.is_emptied = False

    def read(self, key: str, most: int) -> Stored | None:
        self.asked += 1
        if self.is_away:
            raise StoreError("s3://far: nobody answers")
        if key != "voices/jack.jsonl" or self.is_emptied:
            return None
        return Stored(pointer.dump((Move("now", "me", "publish", None, self.holds),)), "1")

    def make(self) -> None: ...

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
    return Pointers(Store(far), clock, patience_s=60)


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


def test_no_session_waits_long_for_a_store_that_hangs(far: FarObjects, clock: Clock) -> None:
    pointers = Pointers(Store(far), clock, patience_s=0)
    pointers.get("jack")
    clock.now = 3600
    answers = threading.Event()
    read = far.read

    def hanging(key: str, most: int) -> Stored | None:
        answers.wait()
        return read(key, most)

    far.read = hanging  # type: ignore[method-assign]
    assert [pointers.get("jack") for _ in range(3)] == [OLD] * 3
    assert far.asked == 1
    answers.set()


def test_an_answer_from_before_this_node_moved_a_pointer_is_not_remembered(
    pointers: Pointers, far: FarObjects
) -> None:
    read = far.read

    def overtaken(key: str, most: int) -> Stored | None:
        old = read(key, most)
        far.holds, far.read = NEW, read  # type: ignore[method-assign]
        pointers.forget("jack")
        return old

    far.read = overtaken  # type: ignore[method-assign]
    assert [pointers.get("jack"), pointers.get("jack")] == [OLD, NEW]


def test_a_log_that_is_gone_takes_no_known_voice_with_it(
    pointers: Pointers, far: FarObjects, clock: Clock
) -> None:
    pointers.get("jack")
    far.is_emptied = True
    clock.now = 3600
    assert pointers.get("jack") == OLD


def test_a_name_that_means_nothing_is_remembered_for_a_moment(
    pointers: Pointers, far: FarObjects, clock: Clock
) -> None:
    assert [pointers.get("nobody"), pointers.get("nobody")] == [Pointer("nobody")] * 2
    assert far.asked == 1
    clock.now = FRESH_SECONDS
    pointers.get("nobody")
    assert far.asked == 2
