"""How long, how fast and on what the codec is trained, by steps and by the clock."""

import time
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Plan:
    """How long, how fast, on what."""

    steps: int
    open_steps: int
    """Steps before the first quantised one."""
    mix_steps: int
    """Steps in which quantised crops go from none to all."""
    decay_steps: int
    """Steps at the end in which the learning rate falls to nothing."""
    rate: float
    frames: int
    batch: int
    is_frozen: bool
    critics: int
    """Channels of the critics' first layers; 0 for none."""
    critics_from: int = 0
    """The step that the critics join at."""

    def rate_at(self, step: int) -> float:
        """Warm-up, a plateau, and a straight line to zero at the end."""
        warm = min(1.0, (step + 1) / 50)
        left = (self.steps - step) / max(1, self.decay_steps)
        return self.rate * min(warm, left, 1.0)

    def mel_at(self, step: int, opened_at: int | None) -> float:
        """The mel loss's share of its weight: pitch first.

        A network as it is drawn lets phase through; one that has learnt magnitudes first does not
        any more, and from there no pitch is learnt.
        """
        return min(1.0, 0.03 + step / max(1, self.open_steps)) if opened_at is None else 1.0

    def mix_at(self, step: int, opened_at: int | None) -> float:
        """The share of crops that are quantised, the codebooks being there since `opened_at`."""
        if opened_at is None:
            return 0.0
        return min(1.0, (step - opened_at) / max(1, self.mix_steps))


@dataclass(frozen=True)
class Clock:
    """When to end, where the machine's speed is not known, and from when on to slow down."""

    until_s: float
    decay_s: float

    def left(self) -> float:
        """1 until the decay begins, then a straight line to 0; the first worker's for all."""
        left_s = self.until_s - time.monotonic()
        left = torch.tensor(max(0.0, min(1.0, left_s / max(self.decay_s, 1e-3))))
        if dist.is_initialized():
            dist.broadcast(left, 0)
        return float(left)
