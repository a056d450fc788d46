"""What was said lately is less likely; what was said long ago, or in another slot, is not."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.engine.penalty import FRAMES, penalise, recently_said


@given(st.integers(0, 400))
def test_only_the_slots_own_of_the_last_frames_count(position: int) -> None:
    output = list(range(position))
    said = list(recently_said(output))
    assert len(said) == min(FRAMES, position // 7)
    assert all(i % 7 == position % 7 for i in said)
    assert all(position - 7 * FRAMES <= i < position for i in said)


def test_a_penalty_by_hand() -> None:
    logits = torch.tensor([[2.0, -2.0, 1.0], [2.0, -2.0, 1.0]])
    penalise(logits, [[0, 1, 0], [2]], [2.0, 2.0])
    assert logits.tolist() == [[1.0, -4.0, 1.0], [2.0, -2.0, 0.5]]


def test_without_anything_said_nothing_changes() -> None:
    logits = torch.tensor([[2.0, -2.0]])
    penalise(logits, [[]], [2.0])
    assert logits.tolist() == [[2.0, -2.0]]
