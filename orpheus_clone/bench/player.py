"""A listener, simulated: plays what has come as soon as there is some, and says when it ran out."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from orpheus_clone.audio import Waveform
from orpheus_clone.codec.stream import StreamDecoder
from orpheus_clone.codec.window import Window
from orpheus_clone.tokens import SAMPLE_RATE


@dataclass
class Player:
    """Its clock, in seconds, and what it heard."""

    now: float = 0.0
    plays_until: float = 0.0
    underruns: int = 0
    heard: list[Waveform] = field(default_factory=list)

    def take(self, samples: Waveform) -> None:
        """Samples that have come now."""
        if not len(samples):
            return
        if self.now > self.plays_until:
            self.underruns += bool(self.heard)
            self.plays_until = self.now
        self.plays_until += len(samples) / SAMPLE_RATE
        self.heard.append(samples)

    @property
    def samples(self) -> Waveform:
        """Everything it heard."""
        return np.concatenate(self.heard)


def play(ids: list[int], rate: float, decode: Callable[[list[Window]], list[Waveform]]) -> Player:
    """A stream of `rate` tokens a second, heard by somebody whom decoding costs no time."""
    player = Player()
    stream = StreamDecoder(clock=lambda: player.now)

    def hear() -> None:
        player.take(stream.joined(decode(stream.due())))

    for i, token in enumerate(ids):
        comes = (i + 1) / rate
        while (wait := stream.wait_s()) is not None and player.now + wait < comes:
            player.now += wait
            hear()
        player.now = comes
        stream.push([token])
        hear()
    stream.finish()
    hear()
    return player
