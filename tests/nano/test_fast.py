"""The kernels: the same functions and gradients as SNAC's own layers."""

import fast
import pytest
import torch
from snac.layers import NoiseBlock, ResidualUnit, Snake1d, WNConv1d, WNConvTranspose1d
from torch import Tensor, nn

BFLOAT16_ERROR = 1e-2


def results(module: nn.Module, x: Tensor) -> list[Tensor]:
    """What it computes, and the gradients of its input and of its parameters."""
    torch.manual_seed(1)
    x = x.clone().requires_grad_()
    y = module(x)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    return [y, *torch.autograd.grad((y * weight).sum(), [x, *module.parameters()])]


def same(module: nn.Module, shape: tuple[int, int, int], error: float = BFLOAT16_ERROR) -> None:
    for name, parameter in module.named_parameters():
        if name.endswith("alpha"):
            nn.init.uniform_(parameter, 0.2, 3.0)
    x = torch.randn(shape)
    wanted = results(module, x)
    fast.quicken(module)
    assert "forward" in vars(module)
    for ours, theirs in zip(results(module, x), wanted, strict=True):
        assert (ours - theirs).abs().max() < error * theirs.abs().max()


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("dilation", [1, 3, 9])
@pytest.mark.parametrize("time", [64, 1120])
def test_a_unit_is_snacs(dilation: int, time: int) -> None:
    same(ResidualUnit(8, dilation, groups=8), (2, 8, time))


@pytest.mark.parametrize("shape", [(1, 6, 64), (1, 8, 100), (2, 8, 32)])
def test_shapes_that_the_kernels_do_not_take_are_left_to_torch(shape: tuple[int, int, int]) -> None:
    for module in (
        ResidualUnit(shape[1], 3, groups=shape[1]),
        WNConvTranspose1d(shape[1], 8, 8, stride=4, padding=2),
        NoiseBlock(shape[1]),
    ):
        same(module, shape, 1e-5)
    same(WNConv1d(shape[1], 8, 8, stride=4, padding=2), (*shape[:2], shape[2] * 4), 1e-5)


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_the_rate_goes_down_and_up_as_snacs_does(stride: int) -> None:
    size = {"kernel_size": 2 * stride, "stride": stride, "padding": stride // 2}
    same(WNConv1d(36, 12, **size), (2, 36, 80 * stride))
    same(WNConvTranspose1d(36, 12, **size), (2, 36, 80))


def test_noise_is_snacs() -> None:
    same(NoiseBlock(8), (2, 8, 80))


def test_what_has_no_matrix_is_exact() -> None:
    same(Snake1d(5), (3, 5, 37), 1e-5)
    same(WNConv1d(6, 1, kernel_size=7, padding=3), (2, 6, 50), 1e-5)
