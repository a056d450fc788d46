"""SNAC: waveform to codes; codes to waveform, all at once or a window at a time.

SNAC's decoder adds noise of its own (NoiseBlock), in eval too. `is_silent` takes it out, for
tests and comparisons.
"""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orpheus_clone import tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.codec.window import Window, WindowDecoder
from orpheus_clone.errors import ArtifactError, AudioError
from orpheus_clone.tokens import FRAME_SAMPLES, SAMPLE_RATE, Codes

if TYPE_CHECKING:
    import torch


def default_device() -> str:
    """Where sound is decoded, in eval as in serve: speed figures include it."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


class Codec:
    """A loaded SNAC; safe to use from several threads, since it holds no state between calls."""

    def __init__(self, path: Path, device: str | None = None, *, is_silent: bool = False) -> None:
        """Load config.json and weights from `path`; ArtifactError if it is not SNAC 24 kHz."""
        import torch
        from safetensors import SafetensorError
        from snac import SNAC
        from torch.nn.utils import parametrize

        try:
            config = json.loads((path / "config.json").read_text(encoding="utf-8"))
            self._snac = SNAC(**config)
            self._snac.load_state_dict(_weights(path))
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            raise ArtifactError(f"{path}: is not a SNAC codec: {error}") from error
        if (config.get("sampling_rate"), config.get("vq_strides")) != (SAMPLE_RATE, [4, 2, 1]):
            raise ArtifactError(f"{path}: is not the 24 kHz SNAC with strides 4, 2, 1")
        if is_silent:
            _silence_noise(self._snac)
        for module in self._snac.modules():
            # Folded once, instead of at every call.
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")
        self._torch = torch
        self._device = torch.device(device or default_device())
        self._snac.eval().to(self._device)
        self._windows = WindowDecoder(self._snac)

    def encode(self, samples: Waveform) -> Codes:
        """(samples,) at 24 kHz, whole frames of 2048, to (frames, 7) codes.

        SNAC would pad a partial frame with digital zeros, so the caller pads it with room tone.
        """
        return self.encode_batch([samples])[0]

    def encode_batch(self, clips: Sequence[Waveform]) -> list[Codes]:
        """Clips of one length, each as `encode` would; clips of several lengths are an error."""
        lengths = {len(samples) for samples in clips}
        if len(lengths) != 1:
            raise AudioError(f"clips of {len(lengths)} lengths make no batch")
        length = lengths.pop()
        if length == 0 or length % FRAME_SAMPLES:
            raise AudioError(
                f"{length} samples are not whole frames of {FRAME_SAMPLES}; pad with room tone"
            )
        with self._torch.inference_mode():
            batch = self._torch.from_numpy(np.stack(clips)[:, None]).to(self._device)
            books = [book.cpu().numpy() for book in self._snac.encode(batch)]
        return [tokens.interleave([book[i : i + 1] for book in books]) for i in range(len(clips))]

    def decode(self, codes: Codes) -> Waveform:
        """(frames, 7) codes to (frames * 2048,) samples at 24 kHz."""
        if not len(codes):
            return np.zeros(0, np.float32)
        books = tokens.deinterleave(codes)
        with self._torch.inference_mode():
            batch = [self._torch.from_numpy(book).to(self._device)[None] for book in books]
            wave = self._snac.decode(batch)
        samples: Waveform = wave.reshape(-1).float().cpu().numpy()
        return samples

    def decode_windows(self, windows: list[Window]) -> list[Waveform]:
        """The samples of each window's frame, (JOIN + 2048,); see window.py."""
        if not windows:
            return []
        return list(self._windows(windows).numpy())


def _weights(path: Path) -> "dict[str, torch.Tensor]":
    """safetensors where there are some, else the pickled file, tensors only."""
    if (path / "model.safetensors").is_file():
        from safetensors.torch import load_file

        return load_file(path / "model.safetensors")
    import torch

    if not (path / "pytorch_model.bin").is_file():
        raise ArtifactError(f"{path}: holds neither model.safetensors nor pytorch_model.bin")
    try:
        weights: dict[str, torch.Tensor] = torch.load(
            path / "pytorch_model.bin", map_location="cpu", weights_only=True
        )
    except pickle.UnpicklingError as error:
        raise ArtifactError(
            f"{path / 'pytorch_model.bin'}: is not tensors alone, so it may run code; refused. "
            "Fetch the codec again"
        ) from error
    return weights


def _silence_noise(snac: "torch.nn.Module") -> None:
    """Give every NoiseBlock a weight of zero, so that it adds nothing."""
    import torch

    with torch.no_grad():
        for name, parameter in snac.named_parameters():
            if ".linear.parametrizations.weight.original0" in name:
                parameter.zero_()
