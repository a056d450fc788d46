"""The fused kernels: the same functions and gradients as SNAC's own layers."""

import fast
import pytest
import torch
from snac.layers import ResidualUnit, Snake1d
from torch import Tensor, nn


def results(module: nn.Module, x: Tensor) -> list[Tensor]:
    """What it computes, and the gradients of its input and of its parameters."""
    x = x.clone().requires_grad_()
    y = module(x)
    weight = torch.linspace(-1, 1, y.numel()).view_as(y)
    return [y, *torch.autograd.grad((y * weight).sum(), [x, *module.parameters()])]


def same(module: nn.Module, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        if name.endswith("alpha"):
            nn.init.uniform_(parameter, 0.2, 3.0)
    x = torch.randn(shape)
    wanted = results(module, x)
    fast.quicken(module)
    for ours, theirs in zip(results(module, x), wanted, strict=True):
        assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max() + 1e-6


@pytest.mark.parametrize("dilation", [1, 3, 9])
@pytest.mark.parametrize("time", [64, 128, 1216])
def test_a_fused_unit_is_snacs(dilation: int, time: int) -> None:
    same(ResidualUnit(8, dilation, groups=8), (2, 8, time))


@pytest.mark.parametrize("shape", [(1, 6, 64), (1, 8, 100)])
def test_shapes_that_the_kernels_do_not_take_are_left_to_torch(shape: tuple[int, int, int]) -> None:
    same(ResidualUnit(shape[1], 3, groups=shape[1]), shape)


def test_a_fused_snake_is_snacs() -> None:
    same(Snake1d(5), (3, 5, 37))
