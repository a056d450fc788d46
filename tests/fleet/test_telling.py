"""What the telling engine is asked to say is what is heard, however its sound was cut."""

import numpy as np
import pytest

from orpheus_clone import audio
from orpheus_clone.bundle import Adapter
from orpheus_clone.errors import EngineError
from orpheus_clone.models import BaseModel
from orpheus_clone.speech import Speaker, Voice
from orpheus_clone.tokens import FRAME
from tests.fleet import talk, telling
from tests.fleet.talk import Wanted
from tests.fleet.telling import SEGMENT, Teller, TellingCodec, heard, number

WANTED = Wanted("anna", "anna@1", "pool")


@pytest.fixture
def speaker(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> Speaker:
    monkeypatch.setattr(telling, "FRAME_S", 0.0)
    monkeypatch.setenv(telling.NODE, "b")
    return Speaker(Teller(base, slots=1), TellingCodec(), base)


async def test_every_word_is_heard_with_who_said_it(speaker: Speaker, base: BaseModel) -> None:
    adapter = Adapter("anna@1", base.path, "0" * 64)
    await speaker.engine.load(adapter)
    session = talk.session(WANTED, 1)
    session.pcm = audio.pcm16(await speaker.say(session.text, Voice("anna", adapter)))
    assert len(session.words) == talk.SENTENCES * talk.WORDS
    assert session.missed is None
    assert {word.node for word in session.words} == {number("b", 6)}
    assert {(word.voice, word.bundle) for word in session.words} == {
        (number("anna"), number("anna@1"))
    }
    assert len(session.wrong) == len(session.words)  # of another pool
    assert {word.base for word in session.words} == {number(telling.pool(base), 6)}


async def test_what_is_broken_off_and_said_again_has_no_word_too_many(speaker: Speaker) -> None:
    pcm = audio.pcm16(await speaker.say("Kebaro lumite.", Voice("anna")))
    whole = heard(pcm)
    assert [word.word for word in whole] == [number("kebaro", 24), number("lumite", 24)]
    first = 2 * FRAME * SEGMENT
    assert heard(pcm[:first]) == whole[:1]
    assert heard(pcm[: first - 2]) == []
    for cut in (2, 1000, first - 2, first + 300, len(pcm) - 100):
        assert heard(pcm[:cut] + pcm)[-2:] == whole
        assert len(heard(pcm[:cut] + pcm)) == 2 + len(heard(pcm[:cut]))


async def test_a_word_that_is_left_out_or_too_early_is_missed(speaker: Speaker) -> None:
    session = talk.session(WANTED, 1)
    frames = np.split(await speaker.say(session.text, Voice("anna")), talk.SENTENCES * talk.WORDS)
    said = telling.plain(session.text)
    for order, missed in (
        ([*range(21)], None),
        ([*range(15), *range(8, 21)], None),
        ([*range(5), *range(6, 21)], said[5]),
        ([*range(20)], said[20]),
        ([], said[0]),
    ):
        session.pcm = audio.pcm16(
            np.concatenate([np.zeros(0, np.float32), *[frames[i] for i in order]])
        )
        assert session.missed == missed


async def test_an_adapter_is_loaded_before_it_speaks_and_no_more_than_there_is_room_for(
    base: BaseModel,
) -> None:
    engine = Teller(base, slots=1)
    one, two = (Adapter(name, base.path, name * 64) for name in "12")
    speaker = Speaker(engine, TellingCodec(), base)
    with pytest.raises(EngineError, match="not loaded"):
        await speaker.say("Kebaro.", Voice("anna", one))
    await engine.load(one)
    with pytest.raises(EngineError, match="one more than 1"):
        await engine.load(two)
    await engine.unload(one)
    await engine.load(two)
    assert len(heard(audio.pcm16(await speaker.say("Kebaro.", Voice("anna", two))))) == 1
