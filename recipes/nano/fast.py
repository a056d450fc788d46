"""SNAC's costly layers as one core likes them: fused, in C++, compiled where they are run.

torch keeps every intermediate of a residual unit in memory, and differentiates sines and
depthwise convolutions slowly. `quicken` gives the layers of a SNAC other code for the same
functions; parameters stay what they were, and so do results but for the rounding of bfloat16,
which matrix products are of where the processor has it. It needs `g++`; float32 on a CPU only.
"""

import ctypes
import hashlib
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from snac.layers import NoiseBlock, ResidualUnit, Snake1d
from torch import Tensor, nn
from torch.nn import functional

SOURCE = Path(__file__).with_name("fast.cpp")
FLAGS = [
    "-O3", "-march=native", "-shared", "-fPIC", "-std=c++17",
    # -ffast-math without what it does to the whole process when the library is loaded.
    "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-ffinite-math-only",
    "-fassociative-math", "-freciprocal-math",
]  # fmt: skip
LANES = 16
"""The kernels take multiples of it in time."""
FEWEST = 64
"""Columns of a matrix product; for fewer, torch is quicker."""


def quicken(codec: nn.Module) -> None:
    """Give the layers in `codec` that the kernels know their kernels, whatever they lie in."""
    for module in list(codec.modules()):
        kernel = _kernel(module)
        if kernel is not None:
            module.forward = MethodType(kernel, module)


def _kernel(module: nn.Module) -> Any:
    if isinstance(module, ResidualUnit):
        return _unit
    if isinstance(module, Snake1d):
        return _snake
    if isinstance(module, NoiseBlock):
        return _noise
    if isinstance(module, nn.Conv1d | nn.ConvTranspose1d) and module.groups == 1:
        (stride,), (taps,), padding = module.stride, module.kernel_size, module.padding[0]
        if stride > 1 and (taps, padding) == (2 * stride, stride / 2):
            return _down if isinstance(module, nn.Conv1d) else _up
        if (stride, taps, padding, module.out_channels) == (1, 7, 3, 1):
            return _last
    return None


def _snake(module: Any, x: Tensor) -> Tensor:
    return _run("snake", x, x.shape, (), module.alpha)


def _noise(module: Any, x: Tensor) -> Tensor:
    noise = torch.randn(len(x), 1, x.shape[-1])
    weight = module.linear.weight
    if not _fits(x.shape[-1], x.shape[1]):
        return x + noise * functional.conv1d(x, weight)
    return _run("noise", x, x.shape, (), weight, noise)


def _down(module: Any, x: Tensor) -> Tensor:
    stride, out = module.stride[0], module.out_channels
    count = x.shape[-1] // stride
    if x.shape[-1] % stride or not _fits(count, x.shape[1], out):
        return functional.conv1d(x, module.weight, module.bias, stride, module.padding)
    shape = (len(x), out, count)
    return _run("down", x, shape, (out, stride), module.weight, module.bias)


def _up(module: Any, x: Tensor) -> Tensor:
    stride, out = module.stride[0], module.out_channels
    if not _fits(x.shape[-1], x.shape[1], out):
        return functional.conv_transpose1d(x, module.weight, module.bias, stride, module.padding)
    shape = (len(x), out, x.shape[-1] * stride)
    return _run("up", x, shape, (out, stride), module.weight, module.bias)


def _last(module: Any, x: Tensor) -> Tensor:
    return _run("last", x, (len(x), 1, x.shape[-1]), (), module.weight, module.bias)


def _unit(module: Any, x: Tensor) -> Tensor:
    first, depthwise, second, pointwise = module.block
    if not _fits(x.shape[-1], x.shape[1]):
        slow: Tensor = x + module.block(x)
        return slow
    y: Tensor = _Unit.apply(  # type: ignore[no-untyped-call]
        x, depthwise.dilation[0], first.alpha, depthwise.weight, depthwise.bias,
        second.alpha, pointwise.weight, pointwise.bias,
    )  # fmt: skip
    return y


def _fits(time: int, *channels: int) -> bool:
    """Whether the matrix products are of sizes that the kernels take, and are quick with."""
    return time % LANES == 0 and time >= FEWEST and not any(count % 4 for count in channels)


def _run(
    name: str, x: Tensor, shape: Sequence[int], sizes: tuple[int, ...], *weights: Tensor
) -> Tensor:
    """The kernel `name` on x, to y of `shape`; `sizes` it is told beside those of x."""
    y: Tensor = _Layer.apply(name, shape, sizes, x, *weights)  # type: ignore[no-untyped-call]
    return y


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, name: str, shape: Sequence[int], sizes: tuple[int, ...], x: Tensor, *given: Tensor
    ) -> Tensor:
        x, weights, y = x.contiguous(), [w.contiguous() for w in given], x.new_empty(shape)
        _call(f"{name}_forward", x, *weights, y, *x.shape, *sizes)
        ctx.save_for_backward(x, *weights)
        ctx.name, ctx.sizes = name, sizes
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, *weights = ctx.saved_tensors
        dx, grads = torch.empty_like(x), [torch.zeros_like(weight) for weight in weights]
        dy = dy.contiguous()
        _call(f"{ctx.name}_backward", dy, x, *weights, dx, *grads, *x.shape, *ctx.sizes)
        return None, None, None, dx, *grads


class _Unit(torch.autograd.Function):
    """A residual unit, which remembers what its depthwise convolution gave."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dilation: int, *given: Tensor) -> Tensor:
        x, weights = x.contiguous(), [w.contiguous() for w in given]
        h, y = torch.empty_like(x), torch.empty_like(x)
        _call("unit_forward", x, *weights, h, y, *x.shape, dilation)
        ctx.save_for_backward(x, h, *weights)
        ctx.dilation = dilation
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, h, *weights = ctx.saved_tensors
        dx, grads = torch.empty_like(x), [torch.zeros_like(weight) for weight in weights]
        dy = dy.contiguous()
        _call("unit_backward", dy, x, h, *weights, dx, *grads, *x.shape, ctx.dilation)
        return dx, None, *grads


def _call(name: str, *arguments: Tensor | int) -> None:
    """Tensors by address, sizes as C's long."""
    getattr(_library(), name)(
        *(
            ctypes.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else ctypes.c_long(a)
            for a in arguments
        )
    )


@cache
def _library() -> ctypes.CDLL:
    """The compiled kernels, kept by their digest."""
    digest = hashlib.sha256(SOURCE.read_bytes() + " ".join(FLAGS).encode()).hexdigest()[:16]
    built = Path(tempfile.gettempdir()) / f"nano-fast-{digest}.so"
    if not built.is_file():
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            part = Path(folder) / "part.so"
            subprocess.run(["g++", *FLAGS, str(SOURCE), "-o", str(part)], check=True)
            part.replace(built)
    return ctypes.CDLL(str(built))
