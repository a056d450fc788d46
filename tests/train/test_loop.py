"""What a loop does at the end of an epoch, and what it may be told there."""

from pathlib import Path

import numpy as np
import pytest
import torch

from orpheus_clone import tokens
from orpheus_clone.errors import MachineError, TrainingError
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Lora, Train
from orpheus_clone.tokens import TrainingRow
from orpheus_clone.train.loop import Loop, memory_errors
from orpheus_clone.train.metrics import Step
from orpheus_clone.train.model import with_lora

SETTINGS = Train(
    epochs=3,
    batch_size=2,
    learning_rate=0.02,
    warmup_steps=0,
    checkpoint_steps=99,
    lora=Lora(rank=2, dropout=0.2),
)
PROMPT = tokens.prompt([128_000, 72, 105])


@pytest.fixture(scope="module")
def rows() -> list[TrainingRow]:
    rng = np.random.default_rng(0)
    codes = [rng.integers(0, 4096, (frames, 7)) for frames in (2, 5, 3, 4)]
    return [tokens.training_row(PROMPT, frames) for frames in codes]


def new_loop(base: BaseModel, rows: list[TrainingRow], settings: Train = SETTINGS) -> Loop:
    torch.manual_seed(0)
    return Loop(with_lora(base, settings, "fp32"), rows, rows[:2], settings, "fp32")


class Ends:
    """Notes the ends of epochs, and ends the run at one of them."""

    def __init__(self, last: int = 99, dies_at: int = 99) -> None:
        self.seen: list[tuple[int, int]] = []
        self._last, self._dies_at = last, dies_at

    def __call__(self, epoch: int, steps: int) -> bool:
        self.seen.append((epoch, steps))
        torch.manual_seed(epoch)  # a voice that speaks draws random numbers
        if epoch == self._dies_at:
            raise KeyboardInterrupt
        return epoch == self._last


def test_an_epochs_end_is_told_after_its_checkpoint_is_there(
    base: BaseModel, rows: list[TrainingRow], tmp_path: Path
) -> None:
    out, kept = RunDir(tmp_path), list[bool]()

    def at_end(_epoch: int, steps: int) -> bool:
        kept.append((out.checkpoints / f"step-{steps:08d}").is_dir())
        return False

    assert new_loop(base, rows).run(out, "a", at_epoch_end=at_end) == 6
    assert kept == [True, True, True]


def test_a_run_ends_early_where_it_is_told_to(
    base: BaseModel, rows: list[TrainingRow], tmp_path: Path
) -> None:
    ends, steps = Ends(last=2), list[Step]()
    assert new_loop(base, rows).run(RunDir(tmp_path), "a", steps.append, ends) == 4
    assert ends.seen == [(1, 2), (2, 4)]
    assert [step.step for step in steps] == [1, 2, 3, 4]
    again = Ends(last=2)
    assert new_loop(base, rows).run(RunDir(tmp_path), "a", steps.append, again) == 4
    assert again.seen == [(2, 4)]
    assert len(steps) == 4


def test_a_run_that_dies_in_an_epochs_end_is_asked_again_and_ends_as_if_it_had_not(
    base: BaseModel, rows: list[TrainingRow], tmp_path: Path
) -> None:
    whole, halved = list[Step](), list[Step]()
    new_loop(base, rows).run(RunDir(tmp_path / "whole"), "a", whole.append)
    out = RunDir(tmp_path / "halved")
    with pytest.raises(KeyboardInterrupt):
        new_loop(base, rows).run(out, "a", halved.append, Ends(dies_at=2))
    ends = Ends()
    new_loop(base, rows).run(out, "a", halved.append, ends)
    assert ends.seen == [(2, 4), (3, 6)]
    assert [step.loss for step in halved] == [step.loss for step in whole]


def test_rows_of_any_length_teach_the_same(
    base: BaseModel, rows: list[TrainingRow], tmp_path: Path
) -> None:
    found = []
    for limit in (64, 4096):
        changed = {"row_tokens": limit, "lora": Lora(rank=2), "batch_size": 4}
        steps: list[Step] = []
        loop = new_loop(base, rows, SETTINGS.model_copy(update=changed))
        loop.run(RunDir(tmp_path / str(limit)), "a", steps.append)
        found.append([step.loss for step in steps] + [loop.heldout_loss()])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_a_full_gpu_says_which_settings_take_less_and_that_nothing_is_lost() -> None:
    with (
        pytest.raises(
            MachineError, match=r"row of 4000 tokens; set train\.row_tokens=2000.*last checkpoint"
        ),
        memory_errors(4000),
    ):
        raise torch.cuda.OutOfMemoryError


def test_settings_that_only_cost_memory_or_time_do_not_begin_a_run_anew(
    base: BaseModel, rows: list[TrainingRow], tmp_path: Path
) -> None:
    whole, halved = list[Step](), list[Step]()
    exact = SETTINGS.model_copy(update={"lora": Lora(rank=2)})
    new_loop(base, rows, exact).run(RunDir(tmp_path / "whole"), "a", whole.append)
    out = RunDir(tmp_path / "halved")
    with pytest.raises(KeyboardInterrupt):
        new_loop(base, rows, exact).run(out, "a", halved.append, Ends(dies_at=1))
    lesser = exact.model_copy(update={"row_tokens": 64, "gradient_checkpointing": True})
    new_loop(base, rows, lesser).run(out, "a", halved.append)
    assert [step.step for step in halved] == [1, 2, 3, 4, 5, 6]
    assert [step.loss for step in halved] == pytest.approx([step.loss for step in whole], rel=1e-5)


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_a_gradient_that_is_not_finite_is_no_step(
    base: BaseModel, rows: list[TrainingRow], tmp_path: Path, value: float
) -> None:
    loop = new_loop(base, rows)
    adapter = [p for p in loop.model.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in adapter]
    adapter[0].register_hook(lambda gradient: torch.full_like(gradient, value))
    steps: list[Step] = []
    with pytest.raises(
        TrainingError, match=rf"step 1: the gradient's norm is {value} on .*rows \[.*begins anew"
    ):
        loop.run(RunDir(tmp_path), "a", steps.append)
    assert steps == []
    assert all(torch.equal(now, then) for now, then in zip(adapter, before, strict=True))


def test_each_step_drops_out_other_inputs(
    base: BaseModel, rows: list[TrainingRow], tmp_path: Path
) -> None:
    steps: list[Step] = []
    still = SETTINGS.model_copy(update={"learning_rate": 1e-12})
    new_loop(base, rows[:1], still).run(RunDir(tmp_path), "a", steps.append)
    assert len({round(step.grad_norm, 4) for step in steps}) == 3  # of one clip, never learnt
