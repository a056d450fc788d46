"""Speech faster or slower at the pitch it has, as it comes: FFmpeg's `atempo` (WSOLA).

One `atempo` beyond a factor of two leaves samples out instead of laying them over each other, so
larger factors are made of several.
"""

import itertools
import math
from fractions import Fraction

import av
import numpy as np

from orpheus_clone.audio import Waveform
from orpheus_clone.tokens import SAMPLE_RATE

SLOWEST, FASTEST = 0.25, 4.0


class Tempo:
    """One stream of samples at 24 kHz; n samples in are about n / `speed` out."""

    def __init__(self, speed: float) -> None:
        """`speed` from `SLOWEST` to `FASTEST`."""
        stages = max(1, math.ceil(abs(math.log2(speed)) - 1e-9))
        self._graph = av.filter.Graph()
        ends = [
            self._graph.add_abuffer(
                sample_rate=SAMPLE_RATE,
                format="flt",
                layout="mono",
                time_base=Fraction(1, SAMPLE_RATE),
            )
        ]
        each = repr(speed ** (1 / stages))
        ends += [self._graph.add("atempo", each) for _ in range(stages)]
        ends.append(self._graph.add("abuffersink"))
        for before, after in itertools.pairwise(ends):
            before.link_to(after)
        self._graph.configure()
        self._taken = 0

    def push(self, samples: Waveform) -> Waveform:
        """What has become ready, shape (n,); often nothing."""
        if not len(samples):
            return samples
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts, frame.time_base = self._taken, Fraction(1, SAMPLE_RATE)
        self._taken += len(samples)
        self._graph.push(frame)
        return self._ready()

    def finish(self) -> Waveform:
        """The rest."""
        self._graph.push(None)
        return self._ready()

    def _ready(self) -> Waveform:
        ready: list[Waveform] = [np.zeros(0, np.float32)]
        while True:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                break
            ready.append(frame.to_ndarray().reshape(-1).astype(np.float32))
        # Windows that are laid over each other may add up to more than full scale.
        return np.clip(np.concatenate(ready), -1.0, 1.0)
