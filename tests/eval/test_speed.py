"""speak_all against a scripted engine: how many streams are open, and what is measured."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from orpheus_clone.bundle import Adapter
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import Delta, Engine, Request
from orpheus_clone.errors import EngineDead, MachineError
from orpheus_clone.eval.prompts import prompt_set
from orpheus_clone.eval.speed import Utterance, speak_all
from orpheus_clone.models import BaseModel
from orpheus_clone.speech import Chunk, Speaker, Utterances, Voice
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
        spoken: str | Utterances,
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

    measured = await speak_all(speaker, [ADA], wanted, concurrency=concurrency, progress=progress)
    assert [utterance.text for utterance in measured] == wanted
    all_open = speaker.seen.index(concurrency)
    assert set(speaker.seen[all_open : ends[0]]) == {concurrency}
    assert max(speaker.seen) == concurrency
    assert engine.open == 0, "a stream is still running"


async def test_each_prompt_is_measured_with_a_seed_of_its_own(
    codec: Codec, base: BaseModel
) -> None:
    engine = SteadyEngine()
    await speak_all(Speaker(engine, codec, base), [ADA], prompt_set(6), concurrency=1)
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
        Speaker(SteadyEngine(), codec, base), [ADA], ["Yes.", "No."], concurrency=1, clock=clock
    )
    for utterance in measured:
        assert utterance.finish == "stop"
        assert len(utterance.samples) == utterance.tokens // 7 * 2048
        assert utterance.arrivals[-1].samples == len(utterance.samples)
        chunks = utterance.tokens // 7 + 1  # one for each frame and one with the finish
        # A whole frame came at once, so what the codec took for it lies before the first chunk.
        assert utterance.first_token_s == 1.0 - utterance.decoding_s
        assert utterance.decoded_s == 1.0
        assert utterance.end_s == chunks + 1.0
        seconds = chunks + utterance.decoding_s
        assert utterance.rate == pytest.approx((utterance.tokens - 1) / seconds)


async def test_what_was_kept_is_not_spoken_again_and_what_is_new_is_kept(
    codec: Codec, base: BaseModel
) -> None:
    engine = SteadyEngine()
    speaker = Speaker(engine, codec, base)
    first = await speak_all(speaker, [ADA], ["One.", "Two."], concurrency=1)
    engine.requests.clear()
    written: dict[int, Utterance] = {}
    both = await speak_all(
        speaker,
        [ADA],
        ["One.", "Two.", "Three."],
        concurrency=1,
        kept={1: first[1]},
        keep=written.__setitem__,
    )
    assert both[1] is first[1]
    assert written == {0: both[0], 2: both[2]}
    assert [request.seed for request in engine.requests[:3]] == [None, 0, 2]


async def test_where_all_was_kept_the_engine_is_not_asked(codec: Codec, base: BaseModel) -> None:
    engine = SteadyEngine()
    speaker = Speaker(engine, codec, base)
    first = await speak_all(speaker, [ADA], ["One."], concurrency=1)
    engine.requests.clear()
    kept = dict(enumerate(first))
    assert await speak_all(speaker, [ADA], ["One."], concurrency=4, kept=kept) == first
    assert not engine.requests


async def test_a_disk_that_is_full_ends_it_before_all_is_spoken(
    codec: Codec, base: BaseModel
) -> None:
    engine, prompts = SteadyEngine(), prompt_set(200)

    def keep(_place: int, _utterance: Utterance) -> None:
        raise MachineError("no space left")

    with pytest.raises(MachineError, match="no space left"):
        await speak_all(Speaker(engine, codec, base), [ADA], prompts, concurrency=2, keep=keep)
    assert len(engine.requests) < 20
    assert engine.open == 0


async def test_streams_take_the_voices_in_turn(
    codec: Codec, base: BaseModel, adapters: tuple[Adapter, Adapter]
) -> None:
    engine = SteadyEngine()
    voices = [Voice("ada", adapters[0]), Voice("ada", adapters[1])]
    speaker = Speaker(engine, codec, base)
    await speak_all(speaker, voices, prompt_set(6), concurrency=3)
    asked = [request.adapter for request in engine.requests]
    assert asked[:2] == list(adapters), "each is warmed up"
    assert asked[2:5] == [adapters[0], adapters[1], adapters[0]]


async def test_of_several_utterances_the_first_that_went_wrong_counts(
    codec: Codec, base: BaseModel
) -> None:
    speaker = Speaker(CutOnce(), codec, base)
    long = " ".join(f"This is sentence number {n} of a very long story." for n in range(12))
    [spoken] = await speak_all(speaker, [ADA], [long], concurrency=1)
    assert spoken.finish == "length"


class CutOnce(SteadyEngine):
    """Its second utterance, after the warm-up, is cut; those after it end by themselves."""

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        async with aclosing(super().generate(request)) as deltas:
            async for delta in deltas:
                is_cut = delta.finish is not None and len(self.requests) == 2
                yield Delta(delta.tokens, "length") if is_cut else delta


async def test_the_cut_reaches_the_engine(codec: Codec, base: BaseModel) -> None:
    engine = SteadyEngine()
    await speak_all(
        Speaker(engine, codec, base), [ADA], ["Yes."], concurrency=2, max_seconds=3 * 2048 / 24_000
    )
    assert {request.max_frames for request in engine.requests} == {3}


@pytest.mark.parametrize("dies_at", [1, 4])
async def test_an_engine_that_dies_says_so_and_leaves_no_stream(
    codec: Codec, base: BaseModel, dies_at: int
) -> None:
    engine = SteadyEngine(dies_at=dies_at)
    with pytest.raises(EngineDead):
        await speak_all(Speaker(engine, codec, base), [ADA], prompt_set(9), concurrency=3)
    assert engine.open == 0
