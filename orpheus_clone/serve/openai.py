"""`POST /v1/audio/speech` as OpenAI's clients speak it: wav or pcm, chunked or as SSE.

Differences from OpenAI's: `response_format` is wav when it is left out, and mp3, opus, aac and
flac are refused, as is any `speed` but 1.
"""

import asyncio
import base64
import json
import struct
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from orpheus_clone import audio
from orpheus_clone.errors import EngineError
from orpheus_clone.serve.metrics import Metrics
from orpheus_clone.serve.node import Found
from orpheus_clone.serve.proxy import BUNDLE, SESSION, Proxy
from orpheus_clone.serve.service import Service
from orpheus_clone.serve.streaming import ClosingResponse
from orpheus_clone.speech import Chunk
from orpheus_clone.tokens import SAMPLE_RATE

LONGEST_INPUT = 4096
"""Characters, as OpenAI's."""
_UNKNOWN_LENGTH = 0xFFFF_FFFF


class VoiceId(BaseModel):
    """The form {"id": "…"} of a voice."""

    id: str


class SpeechRequest(BaseModel):
    """The request's body; fields that OpenAI may add are ignored."""

    model_config = ConfigDict(extra="ignore")

    model: str
    input: str = Field(max_length=LONGEST_INPUT)
    voice: str | VoiceId
    response_format: Literal["wav", "pcm"] = "wav"
    stream_format: Literal["audio", "sse"] = "audio"
    speed: float = Field(1.0, ge=1.0, le=1.0)

    @property
    def voice_name(self) -> str:
        """The voice, in whichever form it came."""
        return self.voice if isinstance(self.voice, str) else self.voice.id

    @property
    def media_type(self) -> str:
        """The answer's content type."""
        if self.stream_format == "sse":
            return "text/event-stream"
        return "audio/wav" if self.response_format == "wav" else "audio/pcm"


def routes(service: Service, proxy: Proxy) -> APIRouter:
    """POST /v1/audio/speech and GET /v1/models."""
    router = APIRouter()
    node = service.node

    @router.post("/v1/audio/speech")
    async def speech(body: SpeechRequest, request: Request) -> Response:
        if body.voice_name not in node.speaker.base.voices:
            carried = await proxy.to_owner(request, body.voice_name)
            if carried is not None:
                service.metrics.proxied.inc()
                return carried
        # A request without a session is one of its own.
        session = request.headers.get(SESSION) or uuid.uuid4().hex
        found = await asyncio.to_thread(node.find, body.voice_name, session)
        node.speaker.script(body.input)
        chunks = _measured(node.speak(body.input, found.voice), service.metrics, found)
        # What goes wrong before the first chunk is still an answer with a status of its own.
        first = await anext(chunks, None)
        if first is None:
            raise EngineError("the engine made no sound")
        return ClosingResponse(
            encode(body, first, chunks),
            media_type=body.media_type,
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


async def _measured(
    chunks: AsyncGenerator[Chunk, None], metrics: Metrics, found: Found
) -> AsyncGenerator[Chunk, None]:
    """The same chunks, counted."""
    began, has_sounded = time.perf_counter(), False
    with metrics.sessions.track_inprogress(), metrics.voice(found.bundle, found.arm) as ended:
        async with aclosing(chunks):
            async for chunk in chunks:
                if len(chunk.samples) and not has_sounded:
                    has_sounded = True
                    metrics.first_audio.observe(time.perf_counter() - began)
                metrics.audio.inc(len(chunk.samples) / SAMPLE_RATE)
                if chunk.finish is not None:
                    ended(chunk.finish)
                yield chunk


async def encode(
    request: SpeechRequest, first: Chunk, rest: AsyncGenerator[Chunk, None]
) -> AsyncGenerator[bytes, None]:
    """Chunks of samples as the bytes of the answer."""
    is_sse = request.stream_format == "sse"
    counted = 0
    async with aclosing(rest):
        if request.response_format == "wav":
            yield _event(wav_header()) if is_sse else wav_header()
        async for chunk in _chain(first, rest):
            counted += chunk.tokens
            if len(chunk.samples):
                pcm = audio.pcm16(chunk.samples)
                yield _event(pcm) if is_sse else pcm
    if is_sse:
        yield _done(len(request.input), counted)


async def _chain(first: Chunk, rest: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Chunk, None]:
    yield first
    async for chunk in rest:
        yield chunk


def wav_header() -> bytes:
    """RIFF header of a 16-bit mono 24 kHz stream whose length is not known yet."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        _UNKNOWN_LENGTH,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        SAMPLE_RATE,
        SAMPLE_RATE * 2,
        2,
        16,
        b"data",
        _UNKNOWN_LENGTH,
    )


def _event(data: bytes) -> bytes:
    body = {"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()}
    return f"data: {json.dumps(body)}\n\n".encode()


def _done(characters: int, tokens: int) -> bytes:
    usage = {
        "input_tokens": characters,
        "output_tokens": tokens,
        "total_tokens": characters + tokens,
    }
    return f"data: {json.dumps({'type': 'speech.audio.done', 'usage': usage})}\n\n".encode()
