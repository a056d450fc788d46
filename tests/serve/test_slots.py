"""Adapters in the engine: never more than there are slots, whoever asks and gives up."""

import asyncio
from pathlib import Path

import pytest

from orpheus_clone.bundle import Adapter
from orpheus_clone.errors import Busy, EngineError
from orpheus_clone.serve.metrics import Metrics
from orpheus_clone.serve.slots import Slots
from tests.serve.talking import Talker, eventually


class Loader(Talker):
    """Holds what is loaded, and loads when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.loads = 0
        self.most = 0
        self.may = asyncio.Event()
        self.may.set()

    async def load(self, adapter: Adapter) -> None:
        self.loads += 1
        await self.may.wait()
        if adapter.name == "broken":
            raise EngineError("it does not fit")
        self.loaded.append(adapter.name)
        self.most = max(self.most, len(self.loaded))

    async def unload(self, adapter: Adapter) -> None:
        self.loaded.remove(adapter.name)


def adapter(name: str) -> Adapter:
    return Adapter(name, Path(name), "0" * 64)


@pytest.fixture
def engine() -> Loader:
    return Loader()


@pytest.fixture
def slots(engine: Loader) -> Slots:
    return Slots(engine, 2, Metrics())


async def used(slots: Slots, *names: str) -> None:
    for name in names:
        async with slots.use(adapter(name)):
            pass


async def test_the_one_that_was_idle_longest_makes_room(slots: Slots, engine: Loader) -> None:
    await used(slots, "a", "b", "a", "c")
    assert slots.resident == {"a": 0, "c": 0}
    assert (engine.loaded, engine.most) == (["a", "c"], 2)


async def test_one_in_use_is_never_sent_away_and_says_so(slots: Slots, engine: Loader) -> None:
    async with slots.use(adapter("a")), slots.use(adapter("b")), slots.use(adapter("b")):
        assert slots.resident == {"a": 1, "b": 2}
        with pytest.raises(Busy, match="all 2 adapter slots are speaking"):
            await used(slots, "c")
        async with slots.use(None):  # a stock voice needs none
            assert slots.resident == {"a": 1, "b": 2}
    await used(slots, "c")
    assert engine.most == 2


async def test_it_is_loaded_once_for_all_who_wait(slots: Slots, engine: Loader) -> None:
    engine.may.clear()
    waiting = [asyncio.create_task(used(slots, "a")) for _ in range(3)]
    await eventually(lambda: engine.loads, "it is being loaded")
    engine.may.set()
    await asyncio.gather(*waiting)
    assert (engine.loads, engine.loaded) == (1, ["a"])


async def test_who_gives_up_while_it_is_loaded_leaves_one_that_is_counted(
    slots: Slots, engine: Loader
) -> None:
    engine.may.clear()
    waiting = asyncio.create_task(used(slots, "a"))
    await eventually(lambda: engine.loads, "it is being loaded")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    engine.may.set()
    await eventually(lambda: slots.resident == {"a": 0}, "it is loaded all the same")
    await used(slots, "b", "c")
    assert (engine.loaded, engine.most) == (["b", "c"], 2)


async def test_one_that_was_just_loaded_is_in_use_before_another_can_take_its_slot(
    engine: Loader,
) -> None:
    only = Slots(engine, 1, Metrics())
    engine.may.clear()
    first = asyncio.create_task(used(only, "a"))
    await eventually(lambda: engine.loads, "a is being loaded")
    assert not only.has_room_for("b", ())
    second = asyncio.create_task(used(only, "b"))
    await asyncio.sleep(0)
    engine.may.set()
    await first
    with pytest.raises(Busy):
        await second
    assert (engine.loads, engine.most) == (1, 1)


async def test_one_that_does_not_load_takes_no_slot(slots: Slots, engine: Loader) -> None:
    for _ in range(3):
        with pytest.raises(EngineError, match="does not fit"):
            await used(slots, "broken")
    await used(slots, "a", "b")
    assert slots.resident == {"a": 0, "b": 0}


async def test_one_that_is_brought_sends_nothing_away_that_is_wanted_or_in_use(
    slots: Slots,
) -> None:
    assert slots.has_room_for("a", ())
    await used(slots, "a", "b")
    assert not slots.has_room_for("a", ()), "it is there"
    assert not slots.has_room_for("c", {"a", "b"})
    with pytest.raises(Busy):
        async with slots.use(adapter("c"), keep={"a", "b"}):
            pass
    assert slots.has_room_for("c", {"a"})
    async with slots.use(adapter("c"), keep={"a"}):
        assert slots.resident == {"a": 0, "c": 1}
    await used(slots, "b")
    async with slots.use(adapter("a")), slots.use(adapter("b")):
        assert not slots.has_room_for("c", ())
