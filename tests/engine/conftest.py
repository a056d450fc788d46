"""What the tests of both engines ask, and how they read a stream."""

from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from orpheus_clone import bundle, disk, models, tokens
from orpheus_clone.bundle import Adapter
from orpheus_clone.engine.base import Delta, Engine, Request
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling, Train
from orpheus_clone.train.loop import Loop
from orpheus_clone.train.model import save_adapter, with_lora

GREEDY = Sampling(temperature=0.0, repetition_penalty=1.0)
LIVELY = Sampling(temperature=1.0, top_p=0.95, repetition_penalty=1.1)


@pytest.fixture(scope="session")
def prompt(base: BaseModel) -> list[int]:
    return models.prompt_ids(base.tokenizer(), "ada", "Hello there.", base.tags, base.language)


@pytest.fixture(scope="session")
def stopping(
    base: BaseModel, prompt: list[int], tmp_path_factory: pytest.TempPathFactory
) -> Adapter:
    """An adapter that has learnt by heart to say one frame to `prompt` and stop."""
    folder = tmp_path_factory.mktemp("stopping")
    row = tokens.training_row(prompt, np.full((1, 7), 7))
    settings = Train(epochs=40, learning_rate=0.02, warmup_steps=0)
    torch.manual_seed(0)
    loop = Loop(with_lora(base, settings, "fp32"), [row], [row], settings, "fp32")
    loop.run(RunDir(folder), "stopping")
    digest = save_adapter(loop.model, folder / "adapter", base.name)
    return Adapter(f"stopping@{digest[:12]}", folder / "adapter", digest)


def filled(adapter: Adapter, out: Path, value: float, **config: Any) -> Adapter:
    """An adapter of the same shapes in which every weight is `value`."""
    settings = disk.read_json(adapter.path / bundle.CONFIG_FILE, "")
    weights = load_file(adapter.path / bundle.WEIGHTS_FILE)
    out.mkdir()
    disk.write_json(out / bundle.CONFIG_FILE, settings | config)
    same = {name: torch.full_like(tensor, value) for name, tensor in weights.items()}
    save_file(same, out / bundle.WEIGHTS_FILE)
    digest = disk.sha256_file(out / bundle.WEIGHTS_FILE)
    return Adapter(bundle.bundle_name(out.name, digest), out, digest)


async def stream_of(engine: Engine, request: Request) -> list[Delta]:
    async with aclosing(engine.generate(request)) as deltas:
        return [delta async for delta in deltas]


async def ids_of(engine: Engine, request: Request) -> list[int]:
    return [token for delta in await stream_of(engine, request) for token in delta.tokens]


def check_well_formed(deltas: Sequence[Delta], max_frames: int) -> None:
    """Whole frames, each id in its slot, and a finish on the last delta alone."""
    ids = [token for delta in deltas for token in delta.tokens]
    frames = len(tokens.tokens_to_codes(ids))
    assert 1 <= frames <= max_frames
    assert [delta.finish for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert deltas[-1].finish == ("length" if frames == max_frames else "stop")
