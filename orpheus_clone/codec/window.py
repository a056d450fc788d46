"""SNAC's decoder over a window of frames, each layer only where the wanted samples need it.

A frame's samples depend on 10 latents before it and 10 after it, nearly all of them because of the
layers at the low rates, which cost little; the layers at the high rates, which cost most, see a few
samples beyond the frame. So the decoder runs without its padding, and every layer is given just
what the next one needs:

    latents   ────────────────────────────────────   24 for the 4 of a frame
    375 Hz      ──────────────────────────────
    3 kHz                ────────────
    12 kHz                ──────────                 1.12 frames
    24 kHz                 ────────                  1.04 frames

Nothing is remembered between calls. Every window has the same shape, whatever stream it is from and
wherever in it, so any number of them are one batch. Where a stream begins, and where what is known
of it ends, SNAC's own zero padding is put back by a mask at each layer.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orpheus_clone import tokens
from orpheus_clone.tokens import Codes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LEFT_FRAMES = 3
RIGHT_FRAMES = 3
"""Frames around the wanted one that a window holds: the receptive field, in whole frames."""

FRAMES = LEFT_FRAMES + 1 + RIGHT_FRAMES
LATENTS = 4
"""A frame's latents, 512 samples each."""

JOIN = 64
"""Samples before the frame that are decoded once more, to fade from the earlier estimate of them to
this one; 2.7 ms. They come late: a stream's last 64 samples wait for its next frame."""


@dataclass(frozen=True, eq=False)
class Window:
    """One frame to decode, and what is known around it."""

    codes: Codes
    """(FRAMES, 7); the wanted frame is at LEFT_FRAMES, and unknown codes are anything."""
    before: int
    """Known frames before the wanted one, at most LEFT_FRAMES."""
    after: int
    """Known latents after it, at most RIGHT_FRAMES * LATENTS."""


@dataclass(frozen=True)
class _Layer:
    """A layer, the positions it is given, at its own rate, and how many of them make a latent."""

    kind: str
    module: Any
    first: int
    last: int
    rate: int


class WindowDecoder:
    """The decoder of a loaded SNAC, for `JOIN` + 2048 samples at a time."""

    def __init__(self, snac: Any) -> None:
        """`snac` has its weights folded: no parametrizations are left."""
        self._quantizer = snac.quantizer
        self._device = next(snac.parameters()).device
        self._layers = _laid_out(list(_flat(snac.decoder.model)), -JOIN, tokens.FRAME_SAMPLES)

    def __call__(self, windows: list[Window]) -> "Tensor":
        """(windows, JOIN + 2048) samples."""
        import torch

        codes = np.stack([window.codes for window in windows])
        books = [codes[:, :, [0]], codes[:, :, [1, 4]], codes[:, :, [2, 3, 5, 6]]]
        batch = [torch.from_numpy(b.reshape(len(windows), -1)).to(self._device) for b in books]
        starts = np.array([-LATENTS * window.before for window in windows])
        ends = np.array([LATENTS + window.after for window in windows])
        with torch.inference_mode():
            return self._decode(self._quantizer.from_codes(batch), starts, ends)

    def _decode(
        self, latents: "Tensor", starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> "Tensor":
        from torch.nn import functional

        offset = LEFT_FRAMES * LATENTS
        first = self._layers[0]
        x = latents[..., first.first + offset : first.last + offset]
        for layer, after in zip(self._layers, [*self._layers[1:], None], strict=True):
            module = layer.module
            if layer.kind == "point":
                x = module(x)
                continue
            x = _masked(x, layer, starts, ends)
            if layer.kind == "conv":
                x = _valid(module, x)
            elif layer.kind == "residual":
                snake, wide, other_snake, narrow = module.block
                y = narrow(other_snake(_valid(wide, snake(x))))
                x = x[..., wide.padding[0] : x.shape[-1] - wide.padding[0]] + y
            else:
                assert after is not None
                (stride,), (padding,) = module.stride, module.padding
                x = functional.conv_transpose1d(x, module.weight, module.bias, stride)
                begin = after.first + padding - layer.first * stride
                x = x[..., begin : begin + after.last - after.first]
        return x[:, 0]


def _masked(
    x: "Tensor", layer: _Layer, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> "Tensor":
    """`x` with zeros where the stream has not begun, or is not known."""
    import torch

    at = np.arange(layer.first, layer.last)
    is_known = (at >= layer.rate * starts[:, None]) & (at < layer.rate * ends[:, None])
    if is_known.all():
        return x
    return torch.where(torch.from_numpy(is_known).to(x.device)[:, None], x, 0)


def _valid(conv: Any, x: "Tensor") -> "Tensor":
    from torch.nn import functional

    return functional.conv1d(x, conv.weight, conv.bias, dilation=conv.dilation, groups=conv.groups)


def _flat(module: Any) -> "list[tuple[str, torch.nn.Module]]":
    """The decoder's layers in order, each with how it is run."""
    from torch import nn

    match module:
        case nn.Sequential():
            return [layer for child in module for layer in _flat(child)]
        case nn.ConvTranspose1d():
            return [("up", module)]
        case nn.Conv1d():
            return [("conv" if module.kernel_size != (1,) else "point", module)]
    match type(module).__name__:
        case "DecoderBlock":
            return _flat(module.block)
        case "ResidualUnit":
            return [("residual", module)]
        case "Snake1d" | "Tanh" | "NoiseBlock":
            return [("point", module)]
    raise TypeError(f"{type(module).__name__} is no layer of SNAC's decoder")


def _laid_out(flat: "list[tuple[str, Any]]", first: int, last: int) -> list[_Layer]:
    """Every layer with the positions [first, last) it must be given for samples [first, last)."""
    layers: list[_Layer] = []
    rate = tokens.FRAME_SAMPLES // LATENTS
    for kind, module in reversed(flat):
        if kind == "conv":
            first, last = first - module.padding[0], last + module.padding[0]
        elif kind == "residual":
            padding = module.block[1].padding[0]
            first, last = first - padding, last + padding
        elif kind == "up":
            (stride,), (padding,), (size,) = module.stride, module.padding, module.kernel_size
            # Output t is made of the inputs i with 0 <= t + padding - i * stride < size.
            first = -((size - 1 - first - padding) // stride)
            last = (last - 1 + padding) // stride + 1
            rate //= stride
        layers.append(_Layer(kind, module, first, last, rate))
    return layers[::-1]
