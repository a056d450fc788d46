"""SNAC's costly layers as one core likes them: fused, in C++, compiled where they are run.

torch keeps every intermediate of a residual unit in memory, and differentiates sines and
depthwise convolutions slowly. `quicken` gives the units, snakes and strided convolutions of a SNAC
other code for the same functions; parameters and results stay what they were. It needs `g++`;
float32 on a CPU only.
"""

import ctypes
import hashlib
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from snac.layers import ResidualUnit, Snake1d
from torch import Tensor, nn

SOURCE = Path(__file__).with_name("fast.cpp")
FLAGS = ("-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", "-std=c++17")
WIDE = 64
"""The times that the kernels take at once."""


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


def _call(name: str, *arguments: Tensor | int) -> None:
    """Tensors by address, sizes as C's long."""
    getattr(_library(), name)(
        *(
            ctypes.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else ctypes.c_long(a)
            for a in arguments
        )
    )


class _Unit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dilation: int, *weights: Tensor) -> Tensor:
        """`weights` are a1, w, b, a2, matrix, bias of fast.cpp."""
        x, weights = x.contiguous(), tuple(w.contiguous() for w in weights)
        h, y = torch.empty_like(x), torch.empty_like(x)
        _call("unit_forward", x, *weights, h, y, *x.shape, dilation)
        ctx.save_for_backward(x, h, *weights)
        ctx.dilation = dilation
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, h, *weights = ctx.saved_tensors
        a1, w, _, a2, matrix, _ = weights
        dx, grads = torch.empty_like(x), [torch.zeros_like(weight) for weight in weights]
        da1, dw, db, da2, dmatrix, dbias = grads
        _call(
            "unit_backward", dy.contiguous(), x, h, a1, w, a2, matrix,
            dx, da1, dw, db, da2, dmatrix, dbias, *x.shape, ctx.dilation,
        )  # fmt: skip
        return dx, None, *grads


class _Snake(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor) -> Tensor:
        x, a, y = x.contiguous(), a.contiguous(), torch.empty_like(x)
        _call("snake_forward", x, a, y, *x.shape)
        ctx.save_for_backward(x, a)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, a = ctx.saved_tensors
        dx, da = torch.empty_like(x), torch.zeros_like(a)
        _call("snake_backward", grad.contiguous(), x, a, dx, da, *x.shape)
        return dx, da


def unit(module: Any, x: Tensor) -> Tensor:
    """What the residual unit `module` computes on (batch, channels, time)."""
    first, depthwise, second, pointwise = module.block
    if x.shape[1] % 4 or x.shape[2] % WIDE:
        slow: Tensor = x + pointwise(second(depthwise(first(x))))
        return slow
    y: Tensor = _Unit.apply(  # type: ignore[no-untyped-call]
        x, depthwise.dilation[0], first.alpha, depthwise.weight, depthwise.bias,
        second.alpha, pointwise.weight, pointwise.bias,
    )  # fmt: skip
    return y


def snake(module: Any, x: Tensor) -> Tensor:
    """What Snake1d computes."""
    y: Tensor = _Snake.apply(x, module.alpha)  # type: ignore[no-untyped-call]
    return y


def quicken(codec: nn.Module) -> None:
    """Give the residual units and snakes of a SNAC their kernels, whatever they lie in."""
    for module in codec.modules():
        if isinstance(module, ResidualUnit):
            module.forward = MethodType(unit, module)
        elif isinstance(module, Snake1d):
            module.forward = MethodType(snake, module)
