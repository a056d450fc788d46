"""SNAC: waveform to codes, codes to waveform, all at once or as frames come.

The streaming decoder keeps a window around each frame and emits only the samples that its
neighbours can no longer change much:

    frames   … i-3  i-2  i-1 [ i ] i+1 …
               └─ left context ┘emit└ look-ahead

Left context costs no latency; look-ahead does (85 ms a frame). SNR against decoding all at once,
with 3 frames on the left, is 23 / 44 / 85 dB at 0 / 1 / 2 frames of look-ahead and exact at 3: the
receptive field is 9.3 latents a side. Samples out are always frames x 2048.

SNAC's decoder adds noise of its own (NoiseBlock), in eval too. `is_silent` takes it out, for
tests and comparisons.
"""

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orpheus_clone import tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import ArtifactError, AudioError
from orpheus_clone.tokens import FRAME_SAMPLES, SAMPLE_RATE, Codes

if TYPE_CHECKING:
    import torch

LEFT_FRAMES = 3
LOOK_AHEAD_FRAMES = 1


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
        self._torch = torch
        self._device = torch.device(device or default_device())
        self._snac.eval().to(self._device)

    def encode(self, samples: Waveform) -> Codes:
        """(samples,) at 24 kHz, whole frames of 2048, to (frames, 7) codes.

        SNAC would pad a partial frame with digital zeros, so the caller pads it with room tone.
        """
        if len(samples) == 0 or len(samples) % FRAME_SAMPLES:
            raise AudioError(
                f"{len(samples)} samples are not whole frames of {FRAME_SAMPLES}; "
                "pad with room tone"
            )
        with self._torch.inference_mode():
            wave = self._torch.from_numpy(np.ascontiguousarray(samples)).to(self._device)
            books = self._snac.encode(wave[None, None])
        return tokens.interleave([book.cpu().numpy() for book in books])

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


class StreamDecoder:
    """Turns one stream's tokens into samples as they come; not for two streams at once."""

    def __init__(
        self, codec: Codec, *, left: int = LEFT_FRAMES, look_ahead: int = LOOK_AHEAD_FRAMES
    ) -> None:
        self._codec = codec
        self._left = left
        self._look_ahead = look_ahead
        self._partial: list[int] = []
        self._window = np.zeros((0, tokens.FRAME), np.int64)
        self._emitted = 0
        """How many frames of the window have been emitted."""

    def push(self, new_tokens: list[int]) -> Waveform:
        """Samples that `new_tokens` made ready: whole frames, often none."""
        self._partial.extend(new_tokens)
        whole = len(self._partial) - len(self._partial) % tokens.FRAME
        codes = tokens.tokens_to_codes(self._partial[:whole])
        del self._partial[:whole]
        self._window = np.concatenate([self._window, codes])
        return self._emit(len(self._window) - self._look_ahead)

    def finish(self) -> Waveform:
        """The samples still owed; TokenError if the stream ended inside a frame."""
        tokens.tokens_to_codes(self._partial)
        return self._emit(len(self._window))

    def _emit(self, until: int) -> Waveform:
        """Decode the window once, and return the frames from the last emitted to `until`."""
        if until <= self._emitted:
            return np.zeros(0, np.float32)
        samples = self._codec.decode(self._window)
        ready = samples[self._emitted * FRAME_SAMPLES : until * FRAME_SAMPLES]
        drop = max(0, until - self._left)
        self._window = self._window[drop:]
        self._emitted = until - drop
        return ready


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
