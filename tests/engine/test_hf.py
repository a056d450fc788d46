import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from orpheus_clone.bundle import Adapter
from orpheus_clone.engine import open_engine
from orpheus_clone.engine.base import Delta, Request
from orpheus_clone.engine.hf import HfEngine
from orpheus_clone.errors import EngineError
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling, Train
from orpheus_clone.train.model import with_lora
from tests.engine.conftest import GREEDY, LIVELY, check_well_formed, filled, ids_of, stream_of

Adapters = tuple[Adapter, Adapter]


@pytest.fixture
async def engine(base: BaseModel) -> AsyncIterator[HfEngine]:
    engine = HfEngine(base)
    yield engine
    await engine.close()


async def test_a_greedy_stream_is_whole_frames_and_repeats(
    engine: HfEngine, prompt: list[int]
) -> None:
    request = Request(prompt, GREEDY, 4)
    deltas = await stream_of(engine, request)
    check_well_formed(deltas, 4)
    assert deltas == await stream_of(engine, request)


@pytest.mark.parametrize("seed", range(3))
async def test_a_sampled_stream_is_well_formed_and_its_seed_repeats_it(
    engine: HfEngine, prompt: list[int], seed: int
) -> None:
    request = Request(prompt, LIVELY, 3, seed=seed)
    deltas = await stream_of(engine, request)
    check_well_formed(deltas, 3)
    assert deltas == await stream_of(engine, request)
    assert deltas != await stream_of(engine, replace(request, seed=seed + 100))


@pytest.mark.parametrize("max_frames", [1, 2])
async def test_no_more_frames_come_than_were_asked_for(
    engine: HfEngine, prompt: list[int], max_frames: int
) -> None:
    deltas = await stream_of(engine, Request(prompt, GREEDY, max_frames))
    assert sum(len(delta.tokens) for delta in deltas) == 7 * max_frames
    assert deltas[-1].finish == "length"


async def test_a_stream_stops_only_between_frames_and_the_stop_id_does_not_come_out(
    engine: HfEngine, prompt: list[int], stopping: Adapter
) -> None:
    deltas = await stream_of(engine, Request(prompt, GREEDY, 10, stopping))
    ids = [token for delta in deltas for token in delta.tokens]
    assert ids == [128273, 132369, 136465, 140561, 144657, 148753, 152849]
    assert deltas[-1] == Delta([], "stop")


async def test_an_adapter_changes_what_is_said_and_the_base_stays_as_it_was(
    engine: HfEngine, prompt: list[int], adapters: Adapters
) -> None:
    plain = Request(prompt, GREEDY, 2)
    before = await ids_of(engine, plain)
    one, two = [await ids_of(engine, replace(plain, adapter=adapter)) for adapter in adapters]
    assert len({tuple(before), tuple(one), tuple(two)}) == 3
    assert await ids_of(engine, plain) == before
    assert await ids_of(engine, replace(plain, adapter=adapters[0])) == one


async def test_streams_of_different_voices_may_be_open_together(
    engine: HfEngine, prompt: list[int], adapters: Adapters
) -> None:
    requests = [Request(prompt, GREEDY, 2, adapter) for adapter in (None, *adapters)]
    alone = [await ids_of(engine, request) for request in requests]
    together = await asyncio.gather(*[ids_of(engine, request) for request in requests])
    assert together == alone


async def test_closing_early_leaves_the_engine_free(engine: HfEngine, prompt: list[int]) -> None:
    async with aclosing(engine.generate(Request(prompt, GREEDY, 100))) as deltas:
        await anext(deltas)
    assert len(await ids_of(engine, Request(prompt, GREEDY, 1))) == 7


async def test_an_unloaded_adapter_is_forgotten_and_can_come_back(
    engine: HfEngine, prompt: list[int], adapters: Adapters
) -> None:
    plain = Request(prompt, GREEDY, 1)
    before = await ids_of(engine, plain)
    with_one = await ids_of(engine, replace(plain, adapter=adapters[0]))
    await engine.load(adapters[1])
    for adapter in adapters:
        await engine.unload(adapter)
        await engine.unload(adapter)
        assert await ids_of(engine, plain) == before
    assert await ids_of(engine, replace(plain, adapter=adapters[0])) == with_one


async def test_loading_twice_loads_once(engine: HfEngine, adapters: Adapters) -> None:
    await asyncio.gather(*[engine.load(adapters[0]) for _ in range(3)])
    assert isinstance(engine._model, PeftModel)
    assert len(engine._model.peft_config) == 1


async def test_an_adapter_that_is_not_there_is_an_engine_error(
    engine: HfEngine, prompt: list[int], tmp_path: Path
) -> None:
    missing = Adapter("ghost@000000000000", tmp_path / "ghost", "0" * 64)
    with pytest.raises(EngineError, match="ghost@000000000000"):
        await engine.load(missing)
    assert len(await ids_of(engine, Request(prompt, GREEDY, 1))) == 7


async def test_a_broken_adapter_is_an_engine_error_and_leaves_the_engine_whole(
    engine: HfEngine, prompt: list[int], adapters: Adapters, tmp_path: Path
) -> None:
    before = await ids_of(engine, Request(prompt, GREEDY, 1))
    config = (adapters[0].path / "adapter_config.json").read_bytes()
    (tmp_path / "adapter_config.json").write_bytes(config)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(EngineError, match="broken"):
        await engine.load(Adapter("broken@000000000000", tmp_path, "0" * 64))
    assert await ids_of(engine, Request(prompt, GREEDY, 1)) == before


@pytest.mark.parametrize("sampling", [GREEDY, LIVELY], ids=["greedy", "drawn"])
async def test_an_adapter_that_ends_in_no_numbers_is_an_engine_error_and_the_base_speaks_on(
    engine: HfEngine, prompt: list[int], adapters: Adapters, tmp_path: Path, sampling: Sampling
) -> None:
    before = await ids_of(engine, Request(prompt, GREEDY, 1))
    drowned = filled(adapters[0], tmp_path / "drowned", 3e38)
    with pytest.raises(EngineError, match=r"with adapter drowned@.* are not numbers"):
        await ids_of(engine, Request(prompt, sampling, 1, drowned))
    assert await ids_of(engine, Request(prompt, GREEDY, 1)) == before


@pytest.fixture
def in_training(base: BaseModel) -> Any:
    """A model as train holds it, with gradients through its checkpoints."""
    torch.manual_seed(0)
    model = with_lora(base, Train(gradient_checkpointing=True), "fp32")
    return model.train()


def state_of(model: Any) -> dict[str, tuple[bool, Any]]:
    return {n: (p.requires_grad, p.detach().clone()) for n, p in model.named_parameters()}


async def test_a_model_in_training_speaks_as_the_adapter_will_and_learns_on_as_before(
    base: BaseModel, prompt: list[int], adapters: Adapters, in_training: Any
) -> None:
    requests = [Request(prompt, LIVELY, 2, adapter, seed=1) for adapter in (None, *adapters)]
    alone = HfEngine(base)
    wanted = [await ids_of(alone, request) for request in requests]
    before = state_of(in_training)
    attention = in_training.config._attn_implementation
    engine = HfEngine(base, in_training=in_training)
    assert [await ids_of(engine, request) for request in requests] == wanted
    await engine.unload(adapters[0])
    assert await ids_of(engine, requests[2]) == wanted[2]
    await engine.close()
    await engine.close()
    after = state_of(in_training)
    assert after.keys() == before.keys()
    for name, (is_learnt, weights) in before.items():
        assert after[name][0] == is_learnt
        assert torch.equal(after[name][1], weights)
    assert in_training.active_adapter == "default"
    assert in_training.config._attn_implementation == attention


async def test_a_closed_engine_is_not_alive(base: BaseModel) -> None:
    engine = open_engine("hf", base)
    assert engine.is_alive()
    assert engine.info.engine == "hf"
    await engine.close()
    await engine.close()
    assert not engine.is_alive()
