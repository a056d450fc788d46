"""An engine whose tokens come at a set pace, and a codec that costs nothing: what is left is ours.

Tokens come one at a time, as vLLM's do, and those that came while nobody took them are handed over
together, as vLLM hands them over. No two frames are alike, so that nobody takes them for a loop.
"""

import asyncio
import math
from collections.abc import AsyncGenerator

import numpy as np

from orpheus_clone import tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.bundle import Adapter
from orpheus_clone.codec.snac import Codec
from orpheus_clone.codec.window import JOIN, Window
from orpheus_clone.engine.base import Delta, EngineInfo, Request
from orpheus_clone.tokens import CODEBOOK, FRAME, FRAME_SAMPLES

LONGEST_FRAMES = 2_000
LOUDNESS = 0.1
"""Of the codec's noise: loud enough to be speech."""


class PacedEngine:
    """Says `frames` an utterance, `rate` tokens a second; at an infinite rate a frame at a time."""

    info = EngineInfo("paced", "CPU (none)", "fp32")

    def __init__(self, rate: float, frames: int) -> None:
        codes = np.random.default_rng(0).integers(0, CODEBOOK, (LONGEST_FRAMES, FRAME))
        self._ids = tokens.codes_to_tokens(codes)
        self._rate, self._frames = rate, frames

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Stream an utterance; see `Engine.generate`."""
        clock = asyncio.get_running_loop().time
        wanted = min(self._frames, request.max_frames, LONGEST_FRAMES) * FRAME
        began, sent = clock(), 0
        while sent < wanted:
            come = sent + FRAME if math.isinf(self._rate) else int((clock() - began) * self._rate)
            if come > sent:
                yield Delta(self._ids[sent : min(come, wanted)])
                sent = come
            else:
                await asyncio.sleep(began + (sent + 1) / self._rate - clock())
        yield Delta([], "stop")

    async def load(self, adapter: Adapter) -> None:
        """Any fits."""

    async def unload(self, adapter: Adapter) -> None:
        """Nothing was kept."""

    def is_alive(self) -> bool:
        """Always."""
        return True

    async def close(self) -> None:
        """Nothing to free."""


class FreeCodec(Codec):
    """The same noise for every frame."""

    def __init__(self) -> None:
        noise = np.random.default_rng(0).standard_normal(JOIN + FRAME_SAMPLES)
        self._sound: Waveform = (LOUDNESS * noise).astype(np.float32)

    def decode_windows(self, windows: list[Window]) -> list[Waveform]:
        """As the codec's."""
        return [self._sound] * len(windows)
