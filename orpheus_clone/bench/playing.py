"""A stream that comes at a steady rate, decoded as it comes, and what a listener has of it."""

from collections.abc import Callable

from orpheus_clone.audio import Waveform
from orpheus_clone.codec.stream import StreamDecoder
from orpheus_clone.codec.window import Window
from orpheus_clone.player import Player


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
