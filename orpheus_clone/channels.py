"""Which channels of a recording carry the speech.

A plain mean of the channels halves speech that is on one of them and cancels speech that is on
both with opposite polarity, so the first pass compares them:

    left    right       compared        what is taken
    ▁▇▅▂█▁  ▁▇▅▂█▁      rho near  1     the mean
    ▁▇▅▂█▁  ▁▂▁▆▁▇      now one louder, the mean: two people, each on a channel
                        now the other
    ▁▇▅▂█▁  ▁▁▁▁▁▁      silent          left
    ▁▇▅▂█▁  ▅▅▅▅▅▅      steady: noise   left
    ▁▇▅▂█▁  ▁▇▅▂█▁      rho near -1     the louder: the mean would cancel
    ▁▇▅▂█▁  ▁▇▅▂█▁      rho near  0     the louder: the same speech from two distances, whose
                                        mean would sound like a comb
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from orpheus_clone.tokens import SAMPLE_RATE

Channels = NDArray[np.float32]
"""(samples, channels)."""


class Look:
    """What is gathered about the channels of a recording: a few bytes a second.

    Channels are compared by their first difference, which is deaf to DC and nearly so to hum.
    """

    FRAME = SAMPLE_RATE // 20
    UNHEARD_DB = 20.0
    """Speech this far below that of another channel is crosstalk."""
    PANNED_DB = 8.0
    """Of the same speech, what lies this far below adds more noise than speech."""
    CONTRAST_DB = 20.0
    """Speech stands this far above its pauses, or less in noise; more says nothing new."""
    ALIKE = 0.5
    TURNS_DB = 6.0
    """Two people speak in turns, and the levels of their channels differ by turns."""
    FLOOR_DB = -90.0

    def __init__(self) -> None:
        self.samples = 0
        self._peaks: Any = 0.0
        self._products: Any = 0.0
        self._levels: list[NDArray[np.float32]] = []
        self._rest: Channels | None = None

    def add(self, block: Channels) -> None:
        """The next samples."""
        self.samples += len(block)
        self._peaks = np.maximum(self._peaks, np.abs(block).max(axis=0, initial=0.0))
        if block.shape[1] == 1:  # nothing to choose from
            return
        joined = block if self._rest is None else np.concatenate([self._rest, block])
        frames = max(0, len(joined) - 1) // self.FRAME
        self._rest = joined[frames * self.FRAME :]
        edges = np.diff(joined[: frames * self.FRAME + 1], axis=0)
        self._products = self._products + edges.T.astype(np.float64) @ edges
        power = (edges.reshape(frames, self.FRAME, block.shape[1]) ** 2).mean(axis=1)
        self._levels.append(10 * np.log10(power + 10 ** (self.FLOOR_DB / 10)))

    def choice(self) -> tuple[list[int], np.float32]:
        """The channels to take the mean of, and the factor that keeps it within full scale."""
        chosen = self._chosen()
        # The mean lies within the mean of the peaks; of one channel this is exact.
        peak = float(np.mean(self._peaks[chosen]))
        return chosen, np.float32(1.0 if peak <= 1.0 else 1 / (peak * 1.0001))

    def _chosen(self) -> list[int]:
        channels = list(range(len(self._peaks)))
        if len(channels) == 1:
            return channels
        levels = np.concatenate(self._levels)
        if not len(levels):  # shorter than a frame
            return channels
        loud = np.percentile(levels, 95, axis=0)
        contrast = np.minimum(loud - np.percentile(levels, 10, axis=0), self.CONTRAST_DB)
        is_speech = contrast >= contrast.max() / 2
        is_heard = is_speech & (loud >= loud[is_speech].max() - self.UNHEARD_DB)
        chosen: list[int] = []
        for channel in sorted(channels, key=lambda c: -loud[c]):
            if is_heard[channel] and all(self._add_up(levels, channel, c) for c in chosen):
                chosen.append(channel)
        return sorted(chosen)

    def _add_up(self, levels: NDArray[np.float32], a: int, b: int) -> bool:
        """Whether the mean of two channels keeps what is said on both."""
        p = self._products
        rho = p[a, b] / np.sqrt(p[a, a] * p[b, b] + 1e-30)
        loud = np.percentile(levels, 95, axis=0)
        if rho > self.ALIKE:
            return bool(abs(loud[a] - loud[b]) < self.PANNED_DB)
        is_spoken = ((levels - loud)[:, [a, b]] > -self.CONTRAST_DB).any(axis=1)
        differences = levels[is_spoken, a] - levels[is_spoken, b]
        return bool(rho > -self.ALIKE and differences.std() > self.TURNS_DB)
