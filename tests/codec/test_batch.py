"""Streams share the codec: each gets its own samples, in turn, and a cancelled one leaves."""

import asyncio
import threading

import numpy as np
import pytest

from orpheus_clone.audio import Waveform
from orpheus_clone.codec.batch import BatchDecoder
from orpheus_clone.codec.snac import Codec
from orpheus_clone.codec.window import Window
from tests.codec.test_window import some_codes, window


class Watched:
    """A codec that writes down its batches, and can be held."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self.batches: list[list[Window]] = []
        self.has_begun = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.go = threading.Event()
        self.go.set()

    def decode_windows(self, windows: list[Window]) -> list[Waveform]:
        self.batches.append(windows)
        self._loop.call_soon_threadsafe(self.has_begun.set)
        self.go.wait(10)
        return self._codec.decode_windows(windows)


def stream(seed: int, frames: int = 4) -> list[Window]:
    codes = some_codes(frames, seed)
    return [window(codes, i) for i in range(frames)]


async def test_each_stream_gets_its_own_samples_in_order(codec: Codec) -> None:
    batches = BatchDecoder(codec)
    streams = [stream(seed) for seed in range(5)]
    together = await asyncio.gather(*[batches.decode(windows) for windows in streams])
    for windows, decoded in zip(streams, together, strict=True):
        for one, samples in zip(windows, decoded, strict=True):
            assert np.abs(codec.decode_windows([one])[0] - samples).max() < 1e-5
    assert await batches.decode([]) == []


async def test_those_who_ask_together_are_decoded_together_one_frame_of_each(codec: Codec) -> None:
    watched = Watched(codec)
    batches = BatchDecoder(watched, max_windows=3)  # type: ignore[arg-type]
    a, b, c = stream(1, 3), stream(2, 1), stream(3, 1)
    await asyncio.gather(*[batches.decode(windows) for windows in (a, b, c)])
    assert watched.batches[0] == [a[0], b[0], c[0]]
    assert watched.batches[1] == a[1:]


async def test_no_stream_waits_more_than_a_round(codec: Codec) -> None:
    watched = Watched(codec)
    batches = BatchDecoder(watched, max_windows=2)  # type: ignore[arg-type]
    greedy = [stream(seed, 6) for seed in (1, 2, 3)]
    modest = stream(4, 1)
    await asyncio.gather(*[batches.decode(windows) for windows in (*greedy, modest)])
    assert modest[0] in watched.batches[1]
    assert sum(map(len, watched.batches)) == 19
    assert len(watched.batches) == 10


async def test_a_cancelled_stream_takes_its_frames_with_it(codec: Codec) -> None:
    watched = Watched(codec)
    watched.go.clear()
    batches = BatchDecoder(watched)  # type: ignore[arg-type]
    gone = asyncio.create_task(batches.decode(stream(1, 5)))
    stays = asyncio.create_task(batches.decode(stream(2, 2)))
    await watched.has_begun.wait()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    watched.go.set()
    assert len(await stays) == 2
    assert list(map(len, watched.batches[1:])) == [1] or list(map(len, watched.batches)) == [7]


async def test_what_the_codec_raises_reaches_those_whose_frames_it_had(codec: Codec) -> None:
    watched = Watched(codec)
    batches = BatchDecoder(watched)  # type: ignore[arg-type]
    broken = Window(np.full((1, 7), 0), 0, 0)
    with pytest.raises(Exception, match=r".+"):
        await batches.decode([broken])
    assert len(await batches.decode(stream(1))) == 4
