"""Text in turns: room is held while there is something to say, and waited for otherwise."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from orpheus_clone.bundle import Adapter
from orpheus_clone.errors import Busy, EngineError
from orpheus_clone.script import Script
from orpheus_clone.serve.admission import Admission
from orpheus_clone.serve.metrics import Metrics
from orpheus_clone.serve.rates import ENOUGH
from orpheus_clone.serve.slots import Slots
from orpheus_clone.serve.turns import Turns
from tests.serve.talking import Talker

SENTENCE = "Good morning to you, and to all of those who came with you here today. "
"""Two of them are no one utterance."""


@pytest.fixture
def admission() -> Admission:
    """Of a machine that speaks to one at a time."""
    made = Admission(lambda: True)
    made.rates.begin_with(1, ENOUGH / 2)
    return made


@pytest.fixture
def slots() -> Slots:
    return Slots(Talker(), 1, Metrics())


def turns(
    script: Script, admission: Admission, slots: Slots, *, voice: str = "a", patience_s: float = 9.0
) -> Turns:
    adapter = Adapter(voice, Path(voice), "0" * 64)
    return Turns(script, adapter, admission, slots, patience_s=patience_s)


async def test_between_utterances_that_are_there_room_is_kept(
    admission: Admission, slots: Slots
) -> None:
    async with aclosing(turns(Script.of(SENTENCE * 2), admission, slots)) as text:
        assert admission.streams == 0
        first = await text.next()
        changed = admission.changed
        second = await text.next()
        assert first == second == SENTENCE.strip()
        assert (admission.streams, slots.resident) == (1, {"a": 1})
        assert not changed.is_set(), "it was never given back"
        assert await text.next() is None
        assert (admission.streams, slots.resident) == (0, {"a": 0})


async def test_while_text_is_waited_for_others_have_the_room(
    admission: Admission, slots: Slots
) -> None:
    script = Script()
    async with aclosing(turns(script, admission, slots)) as text:
        coming = asyncio.create_task(text.next())
        other = turns(Script.of(SENTENCE), admission, slots, voice="b", patience_s=0)
        async with aclosing(other):
            assert await other.next()
            script.write(SENTENCE)
            script.flush()
            for _ in range(5):
                await asyncio.sleep(0)
            assert not coming.done()
            assert slots.resident == {"b": 1}
        assert await coming == SENTENCE.strip()
        assert (admission.streams, slots.resident) == (1, {"a": 1})


async def test_who_has_no_patience_is_told_at_once(admission: Admission, slots: Slots) -> None:
    async with aclosing(turns(Script.of(SENTENCE), admission, slots)) as text:
        await text.next()
        other = turns(Script.of(SENTENCE), admission, slots, voice="b", patience_s=0)
        with pytest.raises(Busy, match="no room for one more"):
            await other.next()
        await other.aclose()
    assert admission.streams == 0


async def test_a_slot_is_waited_for_as_a_stream_is(slots: Slots) -> None:
    everybody = Admission(lambda: True)
    text = turns(Script.of(SENTENCE), everybody, slots)
    await text.next()
    other = turns(Script.of(SENTENCE), everybody, slots, voice="b")
    coming = asyncio.create_task(other.next())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not coming.done()
    assert everybody.streams == 1, "who waits takes no stream meanwhile"
    await text.aclose()
    assert await coming
    assert slots.resident == {"b": 1}
    await other.aclose()


async def test_who_is_cancelled_while_he_waits_leaves_nothing_behind(
    admission: Admission, slots: Slots
) -> None:
    async with aclosing(turns(Script.of(SENTENCE), admission, slots)) as text:
        await text.next()
        other = turns(Script.of(SENTENCE), admission, slots, voice="b")
        coming = asyncio.create_task(other.next())
        await asyncio.sleep(0)
        coming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await coming
        await other.aclose()
        assert admission.streams == 1
    assert (admission.streams, slots.resident) == (0, {"a": 0})


async def test_a_session_that_begins_to_speak_keeps_no_other_place(
    admission: Admission, slots: Slots
) -> None:
    with admission.admitted():
        async with aclosing(turns(Script.of(SENTENCE), admission, slots)) as text:
            await text.next()
        admission.check()


class Broken(Talker):
    """An engine that takes its time with an adapter, and then cannot load it."""

    async def load(self, adapter: Adapter) -> None:
        if adapter.name == "broken":
            await asyncio.sleep(0)
            raise EngineError("no")


async def test_who_waits_for_the_room_of_one_that_could_not_be_loaded_gets_it(
    admission: Admission,
) -> None:
    slots = Slots(Broken(), 2, Metrics())
    broken = turns(Script.of(SENTENCE), admission, slots, voice="broken")
    waiting = turns(Script.of(SENTENCE), admission, slots, voice="b", patience_s=60)
    async with aclosing(broken), aclosing(waiting), asyncio.timeout(10):
        failing = asyncio.create_task(broken.next())
        await asyncio.sleep(0)
        spoken = asyncio.create_task(waiting.next())
        with pytest.raises(EngineError):
            await failing
        assert await spoken == SENTENCE.strip()
