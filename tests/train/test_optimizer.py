"""Optimisers by name, and what is said where a package is missing."""

import importlib.util
from pathlib import Path

import pytest
import torch

from orpheus_clone.errors import MachineError
from orpheus_clone.layout import PreparedDir, RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Train
from orpheus_clone.train.optimizer import make_optimizer
from orpheus_clone.train.run import train
from tests.conftest import SMALL_RECIPE

NEEDS_NO_BITSANDBYTES = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed"
)


def test_adamw_has_the_recipes_rate_and_decay() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = make_optimizer([parameter], Train(learning_rate=0.5, weight_decay=0.2))
    parameter.grad = torch.tensor([1.0, -1.0])
    optimizer.step()
    # AdamW by hand: decay by rate x decay, then a first step of the rate against the sign.
    assert parameter.detach().tolist() == pytest.approx([0.9 - 0.5, 0.9 + 0.5], abs=1e-6)


@NEEDS_NO_BITSANDBYTES
@pytest.mark.parametrize(
    ("setting", "value", "instead"),
    [("optimizer", "adamw_8bit", "adamw"), ("quantize", "nf4", "none")],
)
def test_what_needs_bitsandbytes_says_so_before_anything_is_written(
    prepared: PreparedDir, base: BaseModel, tmp_path: Path, setting: str, value: str, instead: str
) -> None:
    chosen = SMALL_RECIPE.train.model_copy(update={setting: value})
    out = RunDir(tmp_path / "jack")
    with pytest.raises(
        MachineError,
        match=rf"train\.{setting}={value} needs bitsandbytes: pip install .*qlora.*; or set "
        rf"train\.{setting}={instead}$",
    ):
        train(prepared, out, recipe=SMALL_RECIPE.model_copy(update={"train": chosen}), base=base)
    assert not out.root.exists()
