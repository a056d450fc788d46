"""DNSMOS P.835 (Reddy et al. 2021): how listeners would rate a recording, predicted.

The model is a file of the package speechmos (Microsoft, MIT), run by onnxruntime. It hears 9 s at
a time, which cost a core 0.35 s. Where the authors let it hear 9 s every second, here as few
windows as cover the clip do: on clips of 9 to 17 s the scores differ by 0.05 (standard deviation).
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from orpheus_clone.audio import Waveform
from orpheus_clone.errors import MachineError
from orpheus_clone.tokens import SAMPLE_RATE


def load() -> "Dnsmos":
    """DNSMOS (Reddy et al. 2021, MIT); MachineError, with what to install, where it is not here."""
    missing = [name for name in ("speechmos", "onnxruntime", "soxr") if find_spec(name) is None]
    if missing:
        raise MachineError(
            f"DNSMOS needs {' and '.join(missing)}: pip install --no-deps speechmos==0.0.1.1 and "
            "pip install onnxruntime soxr"
        )
    # Not through its module, which wants librosa, pandas and a network library.
    spec = find_spec("speechmos")
    folder = Path(next(iter((spec and spec.submodule_search_locations) or [""])))
    model = folder / "dnsmos_models" / "sig_bak_ovr.onnx"
    if not model.is_file():
        raise MachineError(f"{model} is missing: install speechmos==0.0.1.1 again")
    return Dnsmos(model)


class Dnsmos:
    """DNSMOS P.835's overall score; safe to call from several threads, each runs on one core."""

    RATE = 16_000
    WINDOW = 144_160
    """9.01 s: what the model hears at once."""
    # Of the model's output, to the scale of the listeners: the authors' fit.
    FIT = (-0.06766283, 1.11546468, 0.04602535)

    def __init__(self, model: Path) -> None:
        import onnxruntime

        content = model.read_bytes()
        self.digest = hashlib.sha256(content).hexdigest()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, samples: Waveform) -> float:
        """The mean over as few windows as cover the clip; a shorter clip is repeated."""
        import soxr

        at_16k = np.clip(soxr.resample(samples, SAMPLE_RATE, self.RATE), -1, 1)
        x = at_16k if len(at_16k) >= self.WINDOW else np.resize(at_16k, self.WINDOW)
        starts = np.linspace(0, len(x) - self.WINDOW, -(-len(x) // self.WINDOW)).astype(int)
        return float(np.mean([self._score(x[start : start + self.WINDOW]) for start in starts]))

    def _score(self, window: Waveform) -> float:
        (scores,) = self._session.run(None, {"input_1": window[None].astype(np.float32)})
        return float(np.polyval(self.FIT, scores[0, 2]))
