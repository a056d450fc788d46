"""`POST /v1/audio/speech` as OpenAI's clients speak it: every format, chunked or as SSE.

`instructions` and `model` are taken and not followed: a voice speaks as it was taught, with the
base that this node has. Fields that OpenAI may add are ignored.
"""

import base64
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from orpheus_clone.serve import formats, speaking
from orpheus_clone.serve.encode import Encoder
from orpheus_clone.serve.formats import Format, OpenAIFormat
from orpheus_clone.serve.proxy import BUNDLE, SESSION, Proxy
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


def routes(service: Service, proxy: Proxy) -> APIRouter:
    """POST /v1/audio/speech and GET /v1/models."""
    router = APIRouter()
    node = service.node

    @router.post("/v1/audio/speech", responses=formats.DOCUMENTED, response_class=Response)
    async def speech(body: SpeechRequest, request: Request) -> Response:
        began = time.perf_counter()
        carried = await speaking.carried(service, proxy, request, body.voice_name)
        if carried is not None:
            return carried
        found = await speaking.find(service, body.voice_name, request.headers.get(SESSION))
        chunks = await speaking.begin(service, found, body.input, began)
        return ClosingResponse(
            encode(body, chunks),
            media_type=body.media_type,
            stall_s=service.limits.write_stall_seconds,
            headers={
                "x-orpheus-clone-node": service.membership.me.id,
                BUNDLE: found.bundle or "none",
            },
        )

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        model = {"id": node.speaker.base.name, "object": "model", "created": 0}
        return {"object": "list", "data": [model | {"owned_by": "orpheus-clone"}]}

    return router


async def encode(
    request: SpeechRequest, chunks: AsyncGenerator[Chunk, None]
) -> AsyncGenerator[bytes, None]:
    """Chunks of samples as the bytes of the answer."""
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
    body = {"type": "speech.audio.delta", "audio": base64.b64encode(sound).decode()}
    return f"data: {json.dumps(body)}\n\n".encode()


def _done(characters: int, tokens: int) -> bytes:
    usage = {
        "input_tokens": characters,
        "output_tokens": tokens,
        "total_tokens": characters + tokens,
    }
    return f"data: {json.dumps({'type': 'speech.audio.done', 'usage': usage})}\n\n".encode()
