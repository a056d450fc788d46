"""The chunked loss over the audio ids against plain cross-entropy over all of them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Lora, Train
from orpheus_clone.tokens import TrainingRow
from orpheus_clone.train.loss import AudioLoss, cross_entropy
from orpheus_clone.train.model import with_lora
from orpheus_clone.train.pack import pack

ROW = TrainingRow(
    [128_259, 128_000, 72, 105, 128_009, 128_260, 128_261, 128_257]
    + [128_266 + slot * 4096 + 600 * slot for slot in range(7)] * 3
    + [128_258, 128_262],
    [-100] * 8 + [128_266 + slot * 4096 + 600 * slot for slot in range(7)] * 3 + [128_258, -100],
)


def drawn(places: int, columns: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states, a head and targets; logits of some size."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(places, 8, generator=generator) * 3
    head = torch.randn(columns, 8, generator=generator)
    return hidden, head, torch.randint(columns, (places,), generator=generator)


@settings(deadline=None)
@given(
    places=st.integers(1, 40),
    columns=st.integers(1, 30),
    chunk=st.integers(1, 50),
    seed=st.integers(0, 99),
)
def test_any_chunk_gives_the_loss_and_gradient_of_the_whole(
    places: int, columns: int, chunk: int, seed: int
) -> None:
    hidden, head, targets = drawn(places, columns, seed)
    ours, plain = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    loss = cross_entropy(ours, head, targets, chunk)
    right = functional.cross_entropy(plain @ head.T, targets, reduction="sum")
    torch.autograd.backward([loss * 0.25, right * 0.25])
    assert ours.grad is not None and plain.grad is not None
    assert loss.item() == pytest.approx(right.item(), rel=1e-5, abs=1e-5)
    assert torch.allclose(ours.grad, plain.grad, atol=1e-5)


def test_logits_of_any_size_give_a_finite_loss() -> None:
    hidden, head, _ = drawn(4, 6, 0)
    hidden = (hidden * 1e4).requires_grad_()
    worst = (hidden @ head.T).argmin(-1)
    loss = cross_entropy(hidden, head, worst)
    torch.autograd.backward(loss)
    assert 1e4 < loss.item() < math.inf
    assert hidden.grad is not None and hidden.grad.isfinite().all()


def test_no_gradient_is_kept_where_none_is_asked_for() -> None:
    hidden, head, targets = drawn(4, 6, 0)
    with torch.no_grad():
        assert not cross_entropy(hidden.requires_grad_(), head, targets).requires_grad
    assert cross_entropy(hidden, head, targets).requires_grad


def test_loss_and_adapter_gradients_are_those_of_all_other_logits_at_minus_infinity(
    base: BaseModel,
) -> None:
    ours, gradients = taught(base, is_masked=None)
    masked, masked_gradients = taught(base, is_masked=True)
    assert ours == pytest.approx(masked, rel=1e-5)
    assert float((gradients - masked_gradients).norm() / masked_gradients.norm()) < 1e-5


def test_the_full_vocabulary_adds_the_odds_of_audio_to_the_loss_of_a_base_that_knows_nothing(
    base: BaseModel,
) -> None:
    ours, gradients = taught(base, is_masked=None)
    full, full_gradients = taught(base, is_masked=False)
    labels = 3 * 7 + 1
    assert (full - ours) / labels == pytest.approx(math.log(156_940 / 28_684), abs=0.05)
    assert torch.nn.functional.cosine_similarity(gradients, full_gradients, dim=0) > 0.5


def taught(base: BaseModel, is_masked: bool | None) -> tuple[float, torch.Tensor]:
    """Summed loss and adapter gradients of ROW: ours, or transformers' logits and torch's loss."""
    torch.manual_seed(1)
    model = with_lora(base, Train(lora=Lora(rank=4)), "fp32")
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # 0 in a fresh adapter, and then no gradient reaches lora_A
            torch.nn.init.normal_(parameter, std=0.05)
    row = pack([ROW])
    if is_masked is None:
        loss = AudioLoss(model)(*row)
    else:
        logits = model(input_ids=row.input_ids, clip_lengths=row.clip_lengths).logits[0]
        if is_masked:
            logits[:, :128_256] = -math.inf
        labels = torch.tensor([*ROW.labels[1:], -100])
        loss = functional.cross_entropy(logits, labels, reduction="sum")
    loss.backward()
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    assert len(gradients) == 2 * 7 * 2
    return float(loss.detach()), torch.cat(gradients)
