"""A context: text that comes over a socket, and the sound of it that goes back.

    write, flush, end ─▶ Lines ─▶ Placed.speak ─▶ Encoder ─▶ {"audio", "alignment", "contextId"}
                                                             {"isFinal": true, "contextId"}

A context lives across flushes, so that its voice's pitch and pace go on. Sending waits for the
client, and while it waits nothing more is asked of the engine.
"""

import base64
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import numpy as np

from orpheus_clone.errors import EngineError, OrpheusCloneError
from orpheus_clone.serve import messages
from orpheus_clone.serve.alignment import Alignment
from orpheus_clone.serve.encode import Encoder
from orpheus_clone.serve.formats import Format
from orpheus_clone.serve.lines import Lines
from orpheus_clone.speech import Chunk
from orpheus_clone.tokens import SAMPLE_RATE

SILENCE_S = 0.02
"""Said for a text in which there is nothing to say: some clients take no sound for a failure."""

Send = Callable[[dict[str, Any]], Awaitable[None]]
Speak = Callable[[Lines], AsyncGenerator[Chunk, None]]


class Context:
    """See the module docstring."""

    def __init__(
        self,
        name: str | None,
        speak: Speak,
        send: Send,
        form: Format,
        *,
        language: str,
        speed: float,
        is_auto: bool,
        is_synchronised: bool,
    ) -> None:
        """`name` is None for the one of a single stream; `is_auto` speaks each text as it comes.

        Of `is_synchronised` see `Alignment`.
        """
        self._names = {} if name is None else messages.names(name)
        self._speak, self._send, self._speed = speak, send, speed
        self._is_auto = is_auto
        self._encoder = Encoder(form, speed)
        self._alignment = Alignment(is_synchronised=is_synchronised)
        self._lines = Lines(
            language, start_sentences=1 if is_auto else 2, begun=self._alignment.begin
        )
        self._has_text = self._has_sounded = self._is_final = False
        self.is_flushed = True
        """Whether the client asked for all that it wrote."""

    @property
    def held(self) -> int:
        """Characters that are not spoken yet."""
        return self._lines.held

    @property
    def is_busy(self) -> bool:
        """Whether it speaks, or is to speak now."""
        return self._lines.is_busy

    def write(self, text: str) -> None:
        """More text, cut anywhere."""
        self._has_text = True
        self.is_flushed = False
        self._lines.write(text)
        if self._is_auto:
            self._lines.flush()

    def flush(self) -> None:
        """Speak all that was written, without waiting for more."""
        self.is_flushed = True
        self._lines.flush()

    def end(self) -> None:
        """Nothing more is written."""
        self.is_flushed = True
        self._lines.end()

    async def run(self) -> None:
        """Speak until the text ends and all of it was sent."""
        async with aclosing(self._speak(self._lines)) as chunks:
            async for chunk in chunks:
                await self._sound(chunk)
        if self._has_text and not self._has_sounded:
            await self._sound(Chunk(np.zeros(round(SILENCE_S * SAMPLE_RATE), np.float32), 0))
        await self._audio(await self._encoder.finish(), is_end=True)
        await self.final()

    async def final(self) -> None:
        """Tell that nothing more comes; once."""
        if not self._is_final:
            await self._send({"audio": None, "isFinal": True, **self._names})
            self._is_final = True

    async def fail(self, error: OrpheusCloneError, code: int) -> None:
        """Tell that nothing more comes, why, and how much of the text was heard to its end."""
        told = {"error": str(error), "code": code, "retryable": isinstance(error, EngineError)}
        await self._send({**told, "spoken_chars": self._lines.spoken_characters, **self._names})

    async def _sound(self, chunk: Chunk) -> None:
        is_end = chunk.finish is not None
        self._has_sounded = self._has_sounded or len(chunk.samples) > 0
        seconds = len(chunk.samples) / SAMPLE_RATE / self._speed
        self._alignment.sounded(seconds, is_end=is_end)
        await self._audio(await self._encoder.push(chunk.samples), is_end=is_end)

    async def _audio(self, sound: bytes, *, is_end: bool) -> None:
        # With the end of an utterance its last letters are told, though its last sound may be
        # waiting for more in the encoder.
        times = self._alignment.take() if sound or is_end else None
        if not sound and times is None:
            return
        message: dict[str, Any] = {"audio": base64.b64encode(sound).decode(), **self._names}
        await self._send(message | {"alignment": times, "normalizedAlignment": times})
