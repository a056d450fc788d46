"""speak_all against a scripted engine: how many streams are open, and what is measured."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import Engine
from orpheus_clone.errors import EngineDead
from orpheus_clone.eval.run import prompt_set
from orpheus_clone.eval.speed import speak_all
from orpheus_clone.models import BaseModel
from orpheus_clone.script import Script
from orpheus_clone.speech import Chunk, Speaker, Voice
from tests.eval.steady import SteadyEngine

ADA = Voice("ada")


class Counted(Speaker):
    """Counts the utterances that are being spoken, each time that sound of one comes."""

    open = 0

    def __init__(self, engine: Engine, codec: Codec, base: BaseModel) -> None:
        super().__init__(engine, codec, base)
        self.seen: list[int] = []

    async def speak(
        self,
        spoken: str | Script,
        voice: Voice,
        *,
        seed: int | None = None,
        max_seconds: float | None = None,
    ) -> AsyncGenerator[Chunk, None]:
        self.open += 1
        try:
            chunks = super().speak(spoken, voice, seed=seed, max_seconds=max_seconds)
            async with aclosing(chunks) as coming:
                async for chunk in coming:
                    self.seen.append(self.open)
                    yield chunk
        finally:
            self.open -= 1


@pytest.mark.parametrize(
    ("prompts", "concurrency"), [(12, 1), (12, 3), (20, 10), (2, 5)], ids=lambda value: str(value)
)
async def test_just_as_many_streams_as_were_asked_for_are_open_until_all_is_measured(
    codec: Codec, base: BaseModel, prompts: int, concurrency: int
) -> None:
    engine, ends = SteadyEngine(), [0]
    speaker = Counted(engine, codec, base)
    wanted = prompt_set(prompts)

    def progress(done: int, of: int) -> None:
        assert of == prompts
        ends[0] = len(speaker.seen) if done == of else 0

    measured = await speak_all(speaker, ADA, wanted, concurrency=concurrency, progress=progress)
    assert [utterance.text for utterance in measured] == wanted
    all_open = speaker.seen.index(concurrency)
    assert set(speaker.seen[all_open : ends[0]]) == {concurrency}
    assert max(speaker.seen) == concurrency
    assert engine.open == 0, "a stream is still running"


async def test_each_prompt_is_measured_with_a_seed_of_its_own(
    codec: Codec, base: BaseModel
) -> None:
    engine = SteadyEngine()
    await speak_all(Speaker(engine, codec, base), ADA, prompt_set(6), concurrency=1)
    warm_up, *measured = engine.requests
    assert warm_up.seed is None
    assert [request.seed for request in measured[:6]] == list(range(6))


async def test_what_is_measured_is_whole_and_on_the_given_clock(
    codec: Codec, base: BaseModel
) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    measured = await speak_all(
        Speaker(SteadyEngine(), codec, base), ADA, ["Yes.", "No."], concurrency=1, clock=clock
    )
    for utterance in measured:
        assert utterance.finish == "stop"
        assert len(utterance.samples) == utterance.tokens // 7 * 2048
        assert utterance.arrivals[-1].samples == len(utterance.samples)
        chunks = utterance.tokens // 7 + 1  # one for each frame and one with the finish
        assert (utterance.first_token_s, utterance.end_s) == (1.0, chunks + 1.0)
        assert utterance.rate == (utterance.tokens - 1) / chunks


async def test_the_cut_reaches_the_engine(codec: Codec, base: BaseModel) -> None:
    engine = SteadyEngine()
    await speak_all(
        Speaker(engine, codec, base), ADA, ["Yes."], concurrency=2, max_seconds=3 * 2048 / 24_000
    )
    assert {request.max_frames for request in engine.requests} == {3}


@pytest.mark.parametrize("dies_at", [1, 4])
async def test_an_engine_that_dies_says_so_and_leaves_no_stream(
    codec: Codec, base: BaseModel, dies_at: int
) -> None:
    engine = SteadyEngine(dies_at=dies_at)
    with pytest.raises(EngineDead):
        await speak_all(Speaker(engine, codec, base), ADA, prompt_set(9), concurrency=3)
    assert engine.open == 0
