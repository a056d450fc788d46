"""`POST /v1/audio/speech` as OpenAI's clients speak it: every format, chunked or as SSE.

`instructions` and `model` are taken and not followed: a voice speaks as it was taught, with the
base that this node has. Fields that OpenAI may add are ignored.
"""

import base64
import json
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from orpheus_clone.errors import EngineError, OrpheusCloneError
from orpheus_clone.serve import formats, speaking
from orpheus_clone.serve.encode import Encoder
from orpheus_clone.serve.formats import Format, OpenAIFormat
from orpheus_clone.serve.lines import Lines
from orpheus_clone.serve.placed import OnFailure, placed
from orpheus_clone.serve.service import Service
from orpheus_clone.serve.streaming import ClosingResponse
from orpheus_clone.serve.tempo import FASTEST, SLOWEST
from orpheus_clone.speech import Chunk

LONGEST_INPUT = 4096
"""Characters, as OpenAI's."""


class VoiceId(BaseModel):
    """The form {"id": "…"} of a voice."""

    id: str


class SpeechRequest(BaseModel):
    """The request's body; see the module docstring."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    model: str
    input: str = Field(max_length=LONGEST_INPUT)
    voice: str | VoiceId
    instructions: str | None = Field(None, description="Taken, and not followed.")
    response_format: OpenAIFormat = "mp3"
    speed: float = Field(1.0, ge=SLOWEST, le=FASTEST)
    stream_format: Literal["audio", "sse"] = "audio"

    @property
    def voice_name(self) -> str:
        """The voice, in whichever form it came."""
        return self.voice if isinstance(self.voice, str) else self.voice.id

    @property
    def format(self) -> Format:
        """How the sound is sent."""
        return formats.openai(self.response_format)

    @property
    def media_type(self) -> str:
        """The answer's content type."""
        return "text/event-stream" if self.stream_format == "sse" else self.format.media_type


def routes(service: Service) -> APIRouter:
    """POST /v1/audio/speech and GET /v1/models."""
    router = APIRouter()
    node = service.node

    @router.post("/v1/audio/speech", responses=formats.DOCUMENTED, response_class=Response)
    async def speech(
        body: SpeechRequest, request: Request, on_failure: OnFailure = OnFailure.REPEAT
    ) -> Response:
        began = time.perf_counter()
        async with AsyncExitStack() as held:
            session = await held.enter_async_context(
                placed(service, body.voice_name, request.headers, on_failure=on_failure)
            )
            lines = speaking.written(service, session, body.input, began)
            spoken = await held.enter_async_context(aclosing(session.speak(lines)))
            chunks = await speaking.begun(spoken, request)
            return ClosingResponse(
                encode(body, chunks, lines),
                media_type=body.media_type,
                stall_s=service.limits.write_stall_seconds,
                headers=speaking.who(session),
                held=held.pop_all(),
            )

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        model = {"id": node.speaker.base.name, "object": "model", "created": 0}
        return {"object": "list", "data": [model | {"owned_by": "orpheus-clone"}]}

    return router


async def encode(
    request: SpeechRequest, chunks: AsyncGenerator[Chunk, None], lines: Lines
) -> AsyncGenerator[bytes, None]:
    """The bytes of the answer; events tell of an error, and other sound just ends."""
    try:
        async with aclosing(_encoded(request, chunks)) as encoded:
            async for piece in encoded:
                yield piece
    except OrpheusCloneError as error:
        if request.stream_format != "sse":
            raise
        yield _failed(error, lines.spoken_characters)


async def _encoded(
    request: SpeechRequest, chunks: AsyncGenerator[Chunk, None]
) -> AsyncGenerator[bytes, None]:
    pack = _event if request.stream_format == "sse" else bytes
    encoder = Encoder(request.format, request.speed)
    tokens = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            tokens += chunk.tokens
            if sound := await encoder.push(chunk.samples):
                yield pack(sound)
    if sound := await encoder.finish():
        yield pack(sound)
    if request.stream_format == "sse":
        yield _done(len(request.input), tokens)


def _event(sound: bytes) -> bytes:
    return _data({"type": "speech.audio.delta", "audio": base64.b64encode(sound).decode()})


def _done(characters: int, tokens: int) -> bytes:
    usage = {
        "input_tokens": characters,
        "output_tokens": tokens,
        "total_tokens": characters + tokens,
    }
    return _data({"type": "speech.audio.done", "usage": usage})


def _failed(error: OrpheusCloneError, spoken_chars: int) -> bytes:
    """The last event of a stream that cannot go on; `retryable` is what is not the text's fault."""
    told = {"message": str(error), "type": type(error).__name__}
    is_retryable = isinstance(error, EngineError)
    return _data({"error": told | {"retryable": is_retryable, "spoken_chars": spoken_chars}})


def _data(event: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(event)}\n\n".encode()
