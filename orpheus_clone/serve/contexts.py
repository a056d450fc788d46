"""A context: text that comes over a socket, and the sound of it that goes back.

    write, flush, end ─▶ Script ─▶ Node.speak ─▶ Encoder ─▶ {"audio", "alignment", "contextId"}
                                                            {"isFinal": true, "contextId"}

A context lives across flushes, so that its voice's pitch and pace go on. Sending waits for the
client, and while it waits nothing more is asked of the engine.
"""

import base64
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import numpy as np

from orpheus_clone.script import Script
from orpheus_clone.serve import messages
from orpheus_clone.serve.alignment import Alignment
from orpheus_clone.serve.encode import Encoder
from orpheus_clone.serve.formats import Format
from orpheus_clone.speech import Chunk
from orpheus_clone.tokens import SAMPLE_RATE

SILENCE_S = 0.02
"""Said for a text in which there is nothing to say: some clients take no sound for a failure."""

Send = Callable[[dict[str, Any]], Awaitable[None]]
Speak = Callable[["Lines"], AsyncGenerator[Chunk, None]]


class Lines(Script):
    """A script that tells what is being spoken of it."""

    def __init__(
        self, language: str, *, start_sentences: int, begun: Callable[[str], None]
    ) -> None:
        super().__init__(language, start_sentences=start_sentences)
        self._begun = begun

    def take(self) -> str | None:
        """See `Script`."""
        taken = super().take()
        if taken is not None:
            self._begun(taken)
        return taken


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
        self._script = Lines(language, start_sentences=1 if is_auto else 2, begun=self._begin)
        self._encoder = Encoder(form, speed)
        self._alignment = Alignment(is_synchronised=is_synchronised)
        self._has_text = self._has_sounded = self._is_speaking = self._is_final = False
        self.began = time.perf_counter()
        """When the utterance that is heard was begun."""
        self.is_flushed = True
        """Whether the client asked for all that it wrote."""

    @property
    def held(self) -> int:
        """Characters that are not spoken yet."""
        return self._script.held

    @property
    def is_busy(self) -> bool:
        """Whether there is something to speak."""
        return self._is_speaking or self.held > 0

    def write(self, text: str) -> None:
        """More text, cut anywhere."""
        self._has_text = True
        self.is_flushed = False
        self._script.write(text)
        if self._is_auto:
            self._script.flush()

    def flush(self) -> None:
        """Speak all that was written, without waiting for more."""
        self.is_flushed = True
        self._script.flush()

    def end(self) -> None:
        """Nothing more is written."""
        self.is_flushed = True
        self._script.end()

    async def run(self) -> None:
        """Speak until the text ends and all of it was sent."""
        async with aclosing(self._speak(self._script)) as chunks:
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

    async def fail(self, message: str, code: int) -> None:
        """Tell that nothing more comes, and why."""
        await self._send({"error": message, "code": code, **self._names})

    def _begin(self, utterance: str) -> None:
        self._is_speaking = True
        self.began = time.perf_counter()
        self._alignment.begin(utterance)

    async def _sound(self, chunk: Chunk) -> None:
        is_end = chunk.finish is not None
        self._is_speaking = self._is_speaking and not is_end
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
