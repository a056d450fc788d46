"""An engine that says a word a frame, and a codec whose sound tells which, and who said it.

    prompt "anna: kebaro lumite" ─▶ frame, frame ─▶ sound ─▶ `heard`: Word(kebaro, anna, …), …

A frame's codes say the word, the voice in the prompt, the bundle and the base that spoke, and the
node. Its sound holds each code as a level, so that whoever has the bytes, however they were cut,
knows what was said.

    python -m tests.fleet.telling serve …        a node of it, in a process of its own
"""

import asyncio
import os
import zlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import numpy as np

from orpheus_clone import tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.bundle import Adapter
from orpheus_clone.codec.snac import Codec
from orpheus_clone.codec.window import JOIN, LEFT_FRAMES, Window
from orpheus_clone.engine.base import Delta, EngineInfo, Request
from orpheus_clone.errors import EngineError
from orpheus_clone.models import BaseModel
from orpheus_clone.tokens import CODEBOOK, FRAME, FRAME_SAMPLES

NODE = "TELLING_NODE"
"""The variable with a node's name."""
FRAME_S = 0.04
"""A word takes; twice as fast as its sound is played."""
SEGMENT = FRAME_SAMPLES // (FRAME + 1)
QUIETEST, SPAN, MARK = 0.2, 0.6, 0.95
"""Levels of code 0, from there to the largest, and of what parts frames; 0 to 1."""


@dataclass(frozen=True)
class Word:
    """One that was heard; all that is compared with it is a `number`."""

    word: int
    voice: int
    bundle: int
    base: int
    node: int


def number(text: str | None, bits: int = 12) -> int:
    """What a name or a word is in a frame."""
    return zlib.crc32((text or "").encode()) & ((1 << bits) - 1)


class Teller:
    """See the module docstring; holds `slots` adapters and no more."""

    info = EngineInfo("telling", "CPU (none)", "fp32")

    def __init__(self, base: BaseModel, slots: int) -> None:
        self._tokenizer = base.tokenizer()
        self._base, self._slots = base, slots
        self._resident: set[str] = set()
        self._node = os.environ.get(NODE)

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        if request.adapter is not None and request.adapter.name not in self._resident:
            raise EngineError(f"{request.adapter.name} was not loaded")
        voice, words, said = self._asked(request.prompt)
        for place, word in enumerate(words[said:], said):
            await asyncio.sleep(FRAME_S)
            yield Delta(self._frame(place, word, voice, request.adapter))
        yield Delta([], "stop")

    def _asked(self, prompt: list[int]) -> tuple[str, list[str], int]:
        """Whose voice, which words, and how many of them the prompt's own sound says."""
        start, end = prompt.index(tokens.BEGIN_OF_TEXT), prompt.index(tokens.END_OF_TEXT)
        voice, _, text = self._tokenizer.decode(prompt[start + 1 : end]).partition(": ")
        said = (len(prompt) - 1 - prompt.index(tokens.START_OF_SPEECH)) // FRAME
        return voice.strip(), plain(text), said

    def _frame(self, place: int, word: str, voice: str, adapter: Adapter | None) -> list[int]:
        said = number(word, 24)
        who = [number(voice), number(adapter.name if adapter else None)]
        where = number(pool(self._base), 6) * 64 + number(self._node, 6)
        codes = [place % CODEBOOK, *who, where, said // CODEBOOK, said % CODEBOOK]
        return tokens.codes_to_tokens(np.array([[*codes, sum(codes) % CODEBOOK]]))

    async def load(self, adapter: Adapter) -> None:
        if len(self._resident | {adapter.name}) > self._slots:
            raise EngineError(f"{adapter.name} is one more than {self._slots}")
        self._resident.add(adapter.name)

    async def unload(self, adapter: Adapter) -> None:
        self._resident.discard(adapter.name)

    def is_alive(self) -> bool:
        return True

    async def close(self) -> None: ...


def plain(text: str) -> list[str]:
    """Its words, as they are compared: small letters alone."""
    return ["".join(filter(str.isalpha, word)) for word in text.lower().split()]


def pool(base: BaseModel) -> str:
    """What a base is called in a frame."""
    return f"{base.digest} {base.language}"


class TellingCodec(Codec):
    """See the module docstring."""

    def __init__(self, *_: object) -> None: ...

    def decode_windows(self, windows: list[Window]) -> list[Waveform]:
        return [_sound(window.codes[LEFT_FRAMES].tolist()) for window in windows]


def _sound(codes: list[int]) -> Waveform:
    """`JOIN` samples of the mark before it, a swing for each code, and the mark again."""
    half = SEGMENT // 2
    levels = [QUIETEST + SPAN * code / (CODEBOOK - 1) for code in codes]
    swings = [np.repeat([level, -level], half) for level in levels]
    parts = [np.full(JOIN, MARK), *swings, np.full(SEGMENT, MARK)]
    sound: Waveform = np.concatenate(parts).astype(np.float32)
    return sound


def heard(pcm: bytes) -> list[Word]:
    """The words in 16-bit sound at 24 kHz; frames that are not whole say nothing."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2") / 32767
    is_sound = np.concatenate([[False], samples < (QUIETEST + SPAN + MARK) / 2, [False]])
    edges = np.flatnonzero(np.diff(is_sound.astype(np.int8))).reshape(-1, 2)
    # What stood before a frame that was broken off has no mark between it and the next.
    whole = [samples[end - FRAME * SEGMENT : end] for start, end in edges if _fits(start, end)]
    return [word for word in map(_word, whole) if word is not None]


def _fits(start: int, end: int) -> bool:
    return bool(end - start >= FRAME * SEGMENT)


def _word(samples: Any) -> Word | None:
    levels = samples[SEGMENT // 4 :: SEGMENT]
    codes = np.round((levels - QUIETEST) / SPAN * (CODEBOOK - 1)).astype(int).tolist()
    if codes[-1] != sum(codes[:-1]) % CODEBOOK:
        return None
    _, voice, bundle, where, high, low, _ = codes
    return Word(high * CODEBOOK + low, voice, bundle, where // 64, where % 64)


def main() -> None:
    """`orpheus-clone`, with this engine and this codec in place of the real ones."""
    from orpheus_clone import cli
    from orpheus_clone.serve import run

    def open_telling(_name: str, base: BaseModel, *, max_adapters: int, **_: object) -> Teller:
        return Teller(base, max_adapters)

    vars(run).update(open_engine=open_telling, Codec=TellingCodec)
    cli.main()


if __name__ == "__main__":
    main()
