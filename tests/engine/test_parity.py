"""vLLM against the reference engine: equal tokens in float32, and the same manners."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from orpheus_clone import lora, models
from orpheus_clone.bundle import Adapter
from orpheus_clone.engine.base import Engine, Request
from orpheus_clone.engine.hf import HfEngine
from orpheus_clone.errors import EngineError
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling
from tests.engine.conftest import GREEDY, LIVELY, check_well_formed, filled, ids_of, stream_of

pytest.importorskip("vllm")
pytestmark = [pytest.mark.vllm, pytest.mark.asyncio(loop_scope="session")]
Adapters = tuple[Adapter, Adapter]
RANK = 4
"""Of the adapters."""
PENALISED = Sampling(temperature=0.0, repetition_penalty=1.3)


@pytest.fixture(scope="session")
def reference(base: BaseModel) -> HfEngine:
    return HfEngine(base)


@pytest.mark.parametrize("sampling", [GREEDY, PENALISED], ids=["plain", "penalised"])
@pytest.mark.parametrize("voice", ["base", "one", "two"])
async def test_greedy_tokens_equal_the_references(
    vllm_engine: Engine,
    reference: HfEngine,
    prompt: list[int],
    adapters: Adapters,
    voice: str,
    sampling: Sampling,
) -> None:
    adapter = {"base": None, "one": adapters[0], "two": adapters[1]}[voice]
    request = Request(prompt, sampling, 6, adapter)
    ids = await ids_of(vllm_engine, request)
    assert ids == await ids_of(reference, request)
    assert len(ids) >= 7


async def test_two_adapters_and_the_base_in_one_batch_are_as_each_alone(
    vllm_engine: Engine, prompt: list[int], adapters: Adapters
) -> None:
    requests = [Request(prompt, GREEDY, 4, adapter) for adapter in (None, *adapters)]
    alone = [await ids_of(vllm_engine, request) for request in requests]
    together = await asyncio.gather(*[ids_of(vllm_engine, request) for request in requests])
    assert together == alone
    assert len({tuple(ids) for ids in together}) == 3


async def test_the_loudest_adapter_that_a_bundle_may_hold_leaves_the_next_as_it_was(
    vllm_engine: Engine, prompt: list[int], adapters: Adapters, tmp_path: Path
) -> None:
    """After one of 3e38, who speaks next and alone says nothing but the first id of each slot."""
    scale = {"lora_alpha": lora.MAX_SCALE * RANK}
    loudest = filled(adapters[0], tmp_path / "loudest", lora.MAX_WEIGHT, **scale)
    mine = Request(prompt, GREEDY, 3)
    before = await ids_of(vllm_engine, mine)
    assert await ids_of(vllm_engine, replace(mine, adapter=loudest)) != before
    assert await ids_of(vllm_engine, mine) == before


async def test_prompts_of_different_lengths_in_one_batch_keep_their_own_slots(
    vllm_engine: Engine, reference: HfEngine, base: BaseModel
) -> None:
    prompts = [
        models.prompt_ids(base.tokenizer(), "ben", "So. " * n, base.tags, base.language)
        for n in (1, 5, 20)
    ]
    requests = [Request(prompt, GREEDY, n + 1) for n, prompt in enumerate(prompts)]
    together = await asyncio.gather(*[ids_of(vllm_engine, request) for request in requests])
    assert together == [await ids_of(reference, request) for request in requests]


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.0])
async def test_sampled_streams_are_well_formed(
    vllm_engine: Engine, prompt: list[int], temperature: float
) -> None:
    sampling = Sampling(temperature=temperature, top_p=1.0)
    requests = [Request(prompt, sampling, 10, seed=seed) for seed in range(6)]
    for deltas in await asyncio.gather(*[stream_of(vllm_engine, r) for r in requests]):
        check_well_formed(deltas, 10)


async def test_a_stream_stops_only_between_frames(
    vllm_engine: Engine, prompt: list[int], stopping: Adapter
) -> None:
    deltas = await stream_of(vllm_engine, Request(prompt, GREEDY, 10, stopping))
    assert deltas[-1].finish == "stop"
    assert sum(len(delta.tokens) for delta in deltas) == 7


async def test_a_seed_repeats_a_stream(vllm_engine: Engine, prompt: list[int]) -> None:
    request = Request(prompt, LIVELY, 3, seed=5)
    ids = await ids_of(vllm_engine, request)
    assert ids == await ids_of(vllm_engine, request)
    assert ids != await ids_of(vllm_engine, replace(request, seed=6))


@pytest.mark.parametrize("max_frames", [1, 2])
async def test_no_more_frames_come_than_were_asked_for(
    vllm_engine: Engine, prompt: list[int], max_frames: int
) -> None:
    deltas = await stream_of(vllm_engine, Request(prompt, GREEDY, max_frames))
    assert sum(len(delta.tokens) for delta in deltas) == 7 * max_frames
    assert deltas[-1].finish == "length"


async def test_closing_early_leaves_the_engine_free(vllm_engine: Engine, prompt: list[int]) -> None:
    async with aclosing(vllm_engine.generate(Request(prompt, GREEDY, 200))) as deltas:
        first = await anext(deltas)
    assert first.finish is None
    assert len(await ids_of(vllm_engine, Request(prompt, GREEDY, 1))) == 7


async def test_an_unloaded_adapter_can_come_back(
    vllm_engine: Engine, prompt: list[int], adapters: Adapters
) -> None:
    request = Request(prompt, GREEDY, 2, adapters[0])
    await vllm_engine.load(adapters[0])
    before = await ids_of(vllm_engine, request)
    await vllm_engine.unload(adapters[0])
    await vllm_engine.load(adapters[0])
    assert await ids_of(vllm_engine, request) == before


async def test_an_adapter_that_is_not_there_is_an_engine_error(
    vllm_engine: Engine, prompt: list[int], tmp_path: Path
) -> None:
    missing = Adapter("ghost@000000000000", tmp_path / "ghost", "0" * 64)
    with pytest.raises(EngineError, match="ghost@000000000000"):
        await vllm_engine.load(missing)
    with pytest.raises(EngineError, match="ghost@000000000000"):
        await ids_of(vllm_engine, Request(prompt, GREEDY, 1, missing))
    assert vllm_engine.is_alive()
    assert len(await ids_of(vllm_engine, Request(prompt, GREEDY, 1))) == 7


async def test_a_prompt_that_does_not_fit_is_an_engine_error(
    vllm_engine: Engine, prompt: list[int]
) -> None:
    with pytest.raises(EngineError, match="a prompt of 4090 tokens leaves no room for audio"):
        await ids_of(vllm_engine, Request((prompt * 500)[:4090], GREEDY, 1))
    assert vllm_engine.is_alive()
    assert len(await ids_of(vllm_engine, Request(prompt, GREEDY, 1))) == 7


async def test_a_request_over_the_context_is_cut_at_a_whole_frame(
    vllm_engine: Engine, prompt: list[int]
) -> None:
    deltas = await stream_of(vllm_engine, Request((prompt * 500)[:4080], GREEDY, 700))
    check_well_formed(deltas, 2)  # 16 tokens are left


async def test_what_vllm_refuses_is_an_engine_error(vllm_engine: Engine) -> None:
    with pytest.raises(EngineError, match="vLLM refused the request"):
        await ids_of(vllm_engine, Request([], GREEDY, 1))
    assert vllm_engine.is_alive()


async def test_it_says_what_a_speed_figure_is_bound_to(vllm_engine: Engine) -> None:
    assert vllm_engine.info.engine == "vllm"
    assert vllm_engine.info.precision == "fp32"
    assert vllm_engine.info.hardware.startswith("CPU (")
    assert not vllm_engine.info.is_gpu
