"""A voice whose every utterance is a recording: an engine and a codec that play a tape.

An engine's tokens are places on the tape, of which the codec plays the sound. So what judges hear
is real speech that no codec has touched, spoken through the whole of `speech.py`.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence

import numpy as np

from orpheus_clone import models, tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.bundle import Adapter
from orpheus_clone.codec.snac import Codec
from orpheus_clone.codec.window import JOIN, LEFT_FRAMES, Window
from orpheus_clone.engine.base import Delta, EngineInfo, Request
from orpheus_clone.models import BaseModel
from orpheus_clone.tokens import FRAME_SAMPLES

_CODES = 4096


class Tape(Codec):
    """What was recorded, one after the other; frame n has the codes n % 4096, n // 4096, 0, …"""

    def __init__(self) -> None:
        self._frames: list[Waveform] = []

    def record(self, samples: Waveform) -> list[int]:
        """The tokens that (samples,) are played by; the last frame is filled up with its end."""
        first = len(self._frames)
        missing = -len(samples) % FRAME_SAMPLES
        whole = np.concatenate([samples, samples[len(samples) - missing :][::-1]])
        self._frames += list(whole.reshape(-1, FRAME_SAMPLES))
        return [token for n in range(first, len(self._frames)) for token in _tokens(n)]

    def decode_windows(self, windows: list[Window]) -> list[Waveform]:
        return [self._played(window) for window in windows]

    def _played(self, window: Window) -> Waveform:
        place = _place(window.codes[LEFT_FRAMES])
        before = np.zeros(JOIN, np.float32)
        if window.before:
            before = self._frames[_place(window.codes[LEFT_FRAMES - 1])][-JOIN:]
        return np.concatenate([before, self._frames[place]])


def _tokens(place: int) -> list[int]:
    codes = [place % _CODES, place // _CODES, 0, 0, 0, 0, 0]
    return [tokens.slot_ids(slot)[code] for slot, code in enumerate(codes)]


def _place(codes: Sequence[int]) -> int:
    return int(codes[0]) + _CODES * int(codes[1])


class TapeEngine:
    """Says what was recorded of a text; of any other text, `otherwise`."""

    def __init__(
        self,
        base: BaseModel,
        said: Mapping[tuple[str, str], Sequence[int]],
        otherwise: Sequence[int],
        info: EngineInfo | None = None,
    ) -> None:
        """`said` is by the voice's name and the text."""
        self.info = info or EngineInfo("tape", "CPU (none)", "fp32")
        tokenizer = base.tokenizer()
        self._scripts = {
            tuple(models.prompt_ids(tokenizer, name, text, base.tags, base.language)): list(script)
            for (name, text), script in said.items()
        }
        self._otherwise = list(otherwise)
        self.loaded: list[str] = []

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        script = self._scripts.get(tuple(request.prompt), self._otherwise)
        longest = request.max_frames * tokens.FRAME
        for start in range(0, min(len(script), longest), tokens.FRAME):
            yield Delta(script[start : start + tokens.FRAME])
        yield Delta([], "stop" if len(script) <= longest else "length")

    async def load(self, adapter: Adapter) -> None:
        self.loaded.append(adapter.name)

    async def unload(self, adapter: Adapter) -> None: ...

    def is_alive(self) -> bool:
        return True

    async def close(self) -> None: ...
