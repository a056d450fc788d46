"""Packed rows teach what the same clips teach one by one."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone import models, tokens
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Lora, Train
from orpheus_clone.tokens import TrainingRow
from orpheus_clone.train.loss import AudioLoss
from orpheus_clone.train.model import with_lora
from orpheus_clone.train.pack import PackedRow, pack, plan, shares

LENGTHS = st.lists(st.integers(1, 50), max_size=30)


@given(lengths=LENGTHS, limit=st.integers(1, 60))
def test_every_clip_is_in_one_row_and_no_row_is_over_the_limit(
    lengths: list[int], limit: int
) -> None:
    rows = plan(lengths, limit)
    assert sorted(clip for row in rows for clip in row) == list(range(len(lengths)))
    for row in rows:
        assert sum(lengths[clip] for clip in row) <= limit or len(row) == 1


@given(lengths=LENGTHS.filter(bool), limit=st.integers(50, 99))
def test_no_two_rows_would_fit_into_one(lengths: list[int], limit: int) -> None:
    totals = sorted(sum(lengths[clip] for clip in row) for row in plan(lengths, limit))
    assert all(a + b > limit for a, b in itertools.pairwise(totals))


def test_rows_by_hand() -> None:
    assert plan([30, 50, 20, 90, 10], 60) == [[3], [1, 4], [0, 2]]


@given(lengths=LENGTHS.filter(bool), limit=st.integers(1, 60), processes=st.integers(1, 5))
def test_processes_share_the_clips_and_take_as_many_rows_each(
    lengths: list[int], limit: int, processes: int
) -> None:
    rows = shares(lengths, limit, processes)
    assert len(rows) == processes
    assert len({len(mine) for mine in rows}) == 1
    assert sorted(clip for mine in rows for row in mine for clip in row) == [*range(len(lengths))]


def test_one_process_has_the_plan_itself() -> None:
    assert shares([30, 50, 20, 90, 10], 60, 1) == [plan([30, 50, 20, 90, 10], 60)]


def test_a_packed_row_by_hand() -> None:
    row = pack(
        [
            TrainingRow([5, 6, 128_266, 128_258, 7], [-100, -100, 128_266, 128_258, -100]),
            TrainingRow([8, 156_937, 9], [-100, 156_937, -100]),
        ]
    )
    assert row.input_ids.tolist() == [[5, 6, 128_266, 128_258, 7, 8, 156_937, 9]]
    assert row.position_ids.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2]]
    assert row.clip_lengths == [5, 3]
    assert row.places.tolist() == [1, 2, 5]
    assert row.targets.tolist() == [10, 2, 28_681]


def test_a_clip_never_tells_the_next_what_to_say() -> None:
    # The first label of a clip would be predicted by the last id of the clip before.
    row = pack([TrainingRow([128_270], [128_270]), TrainingRow([128_271], [128_271])])
    assert row.places.tolist() == row.targets.tolist() == []


@pytest.fixture(scope="module")
def clips(base: BaseModel) -> list[TrainingRow]:
    """Five, of 1 to 9 frames."""
    rng = np.random.default_rng(0)
    words = ["Yes.", "Good morning to you all.", "No.", "Well then.", "It is raining, is it not?"]
    prompts = [models.prompt_ids(base.tokenizer(), "ada", text, base.tags, "en") for text in words]
    codes = [rng.integers(0, tokens.CODEBOOK, (frames, tokens.FRAME)) for frames in (3, 9, 1, 5, 4)]
    return [tokens.training_row(*pair) for pair in zip(prompts, codes, strict=True)]


def losses_of(
    base: BaseModel, rows: list[list[TrainingRow]], is_checkpointed: bool = False
) -> tuple[float, torch.Tensor]:
    """The summed loss, and the gradient of all adapters in one vector."""
    torch.manual_seed(1)
    model = with_lora(
        base, Train(lora=Lora(rank=4), gradient_checkpointing=is_checkpointed), "fp32"
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # 0 in a fresh adapter, and then no gradient reaches lora_A
            torch.nn.init.normal_(parameter, std=0.05)
    loss = AudioLoss(model)
    total = torch.zeros(())
    for row in rows:
        part = loss(*pack(row))
        part.backward()
        total += part.detach()
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    assert len(gradients) == 2 * 7 * 2
    return float(total), torch.cat(gradients)


def test_packed_clips_have_the_loss_and_gradients_of_clips_alone(
    base: BaseModel, clips: list[TrainingRow]
) -> None:
    alone, alone_gradient = losses_of(base, [[clip] for clip in clips])
    packed, gradient = losses_of(base, [[clips[i] for i in (3, 0, 4)], [clips[2], clips[1]]])
    assert packed == pytest.approx(alone, rel=1e-5)
    assert float((gradient - alone_gradient).norm() / alone_gradient.norm()) < 1e-5


def test_gradient_checkpointing_changes_neither_loss_nor_gradients(
    base: BaseModel, clips: list[TrainingRow]
) -> None:
    plain, plain_gradient = losses_of(base, [clips])
    checked, gradient = losses_of(base, [clips], is_checkpointed=True)
    assert checked == pytest.approx(plain, rel=1e-6)
    assert float((gradient - plain_gradient).norm() / plain_gradient.norm()) < 1e-6


def test_what_a_clip_says_does_not_reach_the_others_in_its_row(
    base: BaseModel, clips: list[TrainingRow]
) -> None:
    torch.manual_seed(1)
    model = with_lora(base, Train(), "fp32").eval()
    other = [clips[4], *clips[1:]]
    with torch.no_grad():
        first, second = (model.get_base_model().model(**_seen(pack(r))) for r in (clips, other))
    after = sum(len(clip.input_ids) for clip in clips[1:])
    a, b = first.last_hidden_state[0, -after:], second.last_hidden_state[0, -after:]
    assert torch.allclose(a, b, atol=1e-5)


def _seen(row: PackedRow) -> dict[str, object]:
    return {
        "input_ids": row.input_ids,
        "position_ids": row.position_ids,
        "clip_lengths": row.clip_lengths,
    }
