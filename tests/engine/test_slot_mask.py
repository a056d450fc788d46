"""The mask that vLLM applies against the one definition that every engine shares."""

import pytest
import torch

from orpheus_clone import optimised
from orpheus_clone.engine.base import allowed_ids
from orpheus_clone.tokens import VOCABULARY

pytest.importorskip("vllm")


@pytest.fixture(scope="module")
def table() -> torch.Tensor:
    from orpheus_clone.engine.slot_mask import forbidden

    return forbidden(0, VOCABULARY, torch.device("cpu"))


@pytest.mark.parametrize("position", range(22))
def test_the_mask_leaves_exactly_the_allowed_ids(table: torch.Tensor, position: int) -> None:
    from orpheus_clone.engine.slot_mask import mask_index

    left = (~table[mask_index(position)]).nonzero().flatten().tolist()
    ids, may_stop = allowed_ids(position)
    assert left == ([128258] if may_stop else []) + list(ids)


@pytest.mark.parametrize("position", [0, 3, 7])
def test_a_short_heads_mask_is_its_part(table: torch.Tensor, position: int) -> None:
    from orpheus_clone.engine.slot_mask import forbidden, mask_index

    short = forbidden(optimised.FIRST, optimised.WIDTH, torch.device("cpu"))
    assert short[mask_index(position)].equal(table[mask_index(position), optimised.FIRST :])


def test_the_first_frames_by_hand() -> None:
    assert allowed_ids(0) == (range(128266, 132362), False)
    assert allowed_ids(1) == (range(132362, 136458), False)
    assert allowed_ids(6) == (range(152842, 156938), False)
    assert allowed_ids(7) == (range(128266, 132362), True)
    assert allowed_ids(8) == (range(132362, 136458), False)
    assert allowed_ids(14) == (range(128266, 132362), True)
