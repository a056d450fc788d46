"""A listener, simulated: plays what has come as soon as there is some, and counts what it missed.

comes      ▁▁▇▇▁▁▇▇▁▁▁▁▁▁▁▁▇▇
plays      ──████████──────████     underruns 1, starved for the time between
"""

from dataclasses import dataclass, field

import numpy as np

from orpheus_clone.audio import Waveform
from orpheus_clone.tokens import SAMPLE_RATE


@dataclass
class Player:
    """Its clock, in seconds, and what it heard."""

    now: float = 0.0
    plays_until: float = 0.0
    underruns: int = 0
    starved_s: float = 0.0
    """Of silence where sound should have been, in all."""
    heard: list[Waveform] = field(default_factory=list)

    def take(self, samples: Waveform) -> None:
        """Samples that have come now."""
        if not len(samples):
            return
        if self.now > self.plays_until:
            if self.heard:
                self.underruns += 1
                self.starved_s += self.now - self.plays_until
            self.plays_until = self.now
        self.plays_until += len(samples) / SAMPLE_RATE
        self.heard.append(samples)

    @property
    def samples(self) -> Waveform:
        """Everything it heard."""
        return np.concatenate(self.heard)
