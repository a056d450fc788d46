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

On a GPU the few hundred small kernels of a batch are one CUDA graph for each of some batch sizes,
recorded once; a batch goes up and comes back in one copy each. (Not run on a GPU by us yet.)
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

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


BOOK_SLOTS = ([0], [1, 4], [2, 3, 5, 6])
"""The slots of a frame that each codebook has, in order."""
GRAPH_SIZES = (1, 2, 4, 8, 16, 32, 64)
"""Windows in a batch on a GPU; one in between is filled up."""


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
        import torch

        self._quantizer = snac.quantizer
        self._device = next(snac.parameters()).device
        self._layers = _laid_out(list(_flat(snac.decoder.model)), -JOIN, tokens.FRAME_SAMPLES)
        self._places = [
            torch.arange(layer.first, layer.last, device=self._device) for layer in self._layers
        ]
        self._lock = threading.Lock()
        self._graphs: list[_Graph] = []

    def __call__(self, windows: list[Window]) -> "Tensor":
        """(windows, JOIN + 2048) samples, on the CPU."""
        import torch

        with torch.inference_mode():
            if self._device.type == "cpu":
                return self._decode(packed(windows)).float()
            largest = GRAPH_SIZES[-1]
            parts = [windows[at : at + largest] for at in range(0, len(windows), largest)]
            return torch.cat([self._replayed(part) for part in parts])

    def _replayed(self, windows: list[Window]) -> "Tensor":
        with self._lock:  # a graph has one place for what goes in and one for what comes out
            if not self._graphs:
                self._graphs = [_Graph(self._decode, size) for size in GRAPH_SIZES]
            graph = next(graph for graph in self._graphs if graph.size >= len(windows))
            return graph.replay(packed(windows)).float().cpu()

    def _decode(self, batch: "Tensor") -> "Tensor":
        """(windows, PACKED) of `packed`, on the device, to (windows, JOIN + 2048) samples."""
        from torch.nn import functional

        books = [
            batch[:, FRAMES * first : FRAMES * last] for first, last in ((0, 1), (1, 3), (3, 7))
        ]
        starts, ends = batch[:, -2, None], batch[:, -1, None]
        offset = LEFT_FRAMES * LATENTS
        first = self._layers[0]
        x = self._quantizer.from_codes(books)[..., first.first + offset : first.last + offset]
        after = [*self._layers[1:], None]
        for layer, at, following in zip(self._layers, self._places, after, strict=True):
            module = layer.module
            if layer.kind == "point":
                x = module(x)
                continue
            x = _masked(x, (at >= layer.rate * starts) & (at < layer.rate * ends))
            if layer.kind == "conv":
                x = _valid(module, x)
            elif layer.kind == "residual":
                snake, wide, other_snake, narrow = module.block
                y = narrow(other_snake(_valid(wide, snake(x))))
                x = x[..., wide.padding[0] : x.shape[-1] - wide.padding[0]] + y
            else:
                assert following is not None
                (stride,), (padding,) = module.stride, module.padding
                x = functional.conv_transpose1d(x, module.weight, module.bias, stride)
                begin = following.first + padding - layer.first * stride
                x = x[..., begin : begin + following.last - following.first]
        samples: Tensor = x[:, 0]
        return samples


def packed(windows: list[Window]) -> "Tensor":
    """(windows, FRAMES * 7 + 2): codes by codebook, the first known latent, one past the last."""
    import torch

    codes = np.stack([window.codes for window in windows])
    books = [codes[:, :, slots].reshape(len(windows), -1) for slots in BOOK_SLOTS]
    known = [[-LATENTS * window.before, LATENTS + window.after] for window in windows]
    return torch.from_numpy(np.concatenate([*books, np.array(known)], axis=1).astype(np.int64))


class _Graph:
    """A batch of one size on a GPU, recorded once and replayed."""

    def __init__(self, decode: "Callable[[Tensor], Tensor]", size: int) -> None:
        import torch

        self.size = size
        self._batch = torch.zeros(size, FRAMES * tokens.FRAME + 2, dtype=torch.long, device="cuda")
        self._pinned = torch.zeros_like(self._batch, device="cpu").pin_memory()
        self._graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode():
            with torch.cuda.stream(stream):
                for _ in range(3):  # kernels are chosen and memory is taken before it is recorded
                    decode(self._batch)
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(self._graph):
                self._samples = decode(self._batch)

    def replay(self, batch: "Tensor") -> "Tensor":
        """(windows, JOIN + 2048) samples on the GPU, of at most `size` windows."""
        self._pinned[: len(batch)] = batch
        self._batch.copy_(self._pinned, non_blocking=True)
        self._graph.replay()
        return self._samples[: len(batch)]


def _masked(x: "Tensor", is_known: "Tensor") -> "Tensor":
    """`x` with zeros where the stream has not begun, or is not known."""
    import torch

    if x.device.type == "cpu" and is_known.all():  # to ask a GPU would be to wait for it
        return x
    return torch.where(is_known[:, None], x, 0)


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
