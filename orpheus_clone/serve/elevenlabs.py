"""ElevenLabs' interface, as its own client, LiveKit's and Pipecat's plugins speak it.

    POST /v1/text-to-speech/{voice} and …/stream        sound of a text
    WS   /v1/text-to-speech/{voice}/stream-input        text in as it comes, sound out
    WS   /v1/text-to-speech/{voice}/multi-stream-input  many contexts on one socket
    GET  /v1/voices                                     what can be spoken with

A voice's id is its name. `output_format`, `inactivity_timeout`, `auto_mode`,
`sync_alignment` and a `speed` in the voice settings are followed; models, languages and other
settings are taken and not followed.

A socket speaks on the node that it was opened on, whoever owns the voice.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.websockets import WebSocket

from orpheus_clone.errors import DataError, EngineDead, OrpheusCloneError
from orpheus_clone.serve import formats, refusals, speaking
from orpheus_clone.serve.contexts import Context, Lines
from orpheus_clone.serve.encode import Encoder
from orpheus_clone.serve.formats import Format
from orpheus_clone.serve.limits import Limits
from orpheus_clone.serve.messages import ClientMessage, VoiceSettings
from orpheus_clone.serve.proxy import SESSION, Proxy
from orpheus_clone.serve.service import Service
from orpheus_clone.serve.session import Session
from orpheus_clone.serve.streaming import ClosingResponse
from orpheus_clone.speech import Chunk

_PATH = "/v1/text-to-speech/{voice}"
LONGEST_TEXT = 8000
"""Characters of a request."""
IDLE_S = 20.0
"""`inactivity_timeout` where the client names none."""


class TextRequest(BaseModel):
    """The body of POST /v1/text-to-speech/{voice}; other fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    text: str = Field(max_length=LONGEST_TEXT)
    voice_settings: VoiceSettings | None = None

    @property
    def speed(self) -> float:
        """How fast to speak."""
        return (self.voice_settings and self.voice_settings.speed) or 1.0


@dataclass(frozen=True)
class Query:
    """What a socket's URL asks for; what is not known is ignored."""

    form: Format
    idle_s: float
    is_auto: bool
    is_synchronised: bool

    @classmethod
    def of(cls, socket: WebSocket, limits: Limits) -> "Query":
        """DataError says which parameter is wrong."""
        given = socket.query_params
        seconds = given.get("inactivity_timeout", str(IDLE_S))
        try:
            idle_s = float(seconds)
        except ValueError:
            idle_s = 0.0
        if not 0 < idle_s <= limits.idle_seconds:
            raise DataError(
                f"inactivity_timeout: {seconds!r} is not from 1 to {limits.idle_seconds:g} seconds"
            )
        form = formats.elevenlabs(given.get("output_format", formats.ELEVENLABS_DEFAULT))
        is_auto, is_synchronised = (
            given.get(flag, "").lower() == "true" for flag in ("auto_mode", "sync_alignment")
        )
        return cls(form, idle_s, is_auto, is_synchronised)


def routes(service: Service, proxy: Proxy) -> APIRouter:
    """See the module docstring."""
    router = APIRouter()
    node = service.node

    @router.post(_PATH, responses=formats.DOCUMENTED, response_class=Response)
    @router.post(_PATH + "/stream", responses=formats.DOCUMENTED, response_class=Response)
    async def speech(
        voice: str,
        body: TextRequest,
        request: Request,
        output_format: str = formats.ELEVENLABS_DEFAULT,
    ) -> Response:
        began = time.perf_counter()
        form = formats.elevenlabs(output_format)
        carried = await speaking.carried(service, proxy, request, voice)
        if carried is not None:
            return carried
        found = await speaking.find(service, voice, request.headers.get(SESSION))
        chunks = await speaking.begin(service, found, body.text, began)
        sound = _encoded(Encoder(form, body.speed), chunks)
        stall_s = service.limits.write_stall_seconds
        return ClosingResponse(sound, media_type=form.media_type, stall_s=stall_s)

    @router.websocket(_PATH + "/stream-input")
    async def single(voice: str, socket: WebSocket) -> None:
        await _serve(service, voice, socket, is_single=True)

    @router.websocket(_PATH + "/multi-stream-input")
    async def multi(voice: str, socket: WebSocket) -> None:
        await _serve(service, voice, socket, is_single=False)

    @router.get("/v1/voices")
    async def voices() -> dict[str, Any]:
        stock, cloned = node.speaker.base.voices, await node.ask(node.store.voices)
        premade = [{"voice_id": name, "name": name, "category": "premade"} for name in stock]
        own = [{"voice_id": name, "name": name, "category": "cloned"} for name in cloned]
        return {"voices": premade + own}

    return router


async def _serve(service: Service, voice: str, socket: WebSocket, *, is_single: bool) -> None:
    """Refuse a socket, or serve it to its end."""
    try:
        if not service.node.is_alive():
            raise EngineDead("the engine's process is gone; restart this node")
        query = Query.of(socket, service.limits)
        found = await speaking.find(service, voice, socket.headers.get(SESSION))
    except OrpheusCloneError as error:
        service.metrics.rejected.labels(type(error).__name__).inc()
        await refusals.deny(socket, refusals.of(error))
        return

    def opened(name: str, message: ClientMessage) -> Context:
        def speak(lines: Lines) -> AsyncGenerator[Chunk, None]:
            spoken = service.node.speak(lines, found.voice)
            return speaking.counted(spoken, service.metrics, found, lambda: context.began)

        context = Context(
            None if is_single else name,
            speak,
            session.send,
            query.form,
            language=service.node.speaker.base.language,
            speed=message.speed,
            is_auto=query.is_auto,
            is_synchronised=query.is_synchronised,
        )
        return context

    await socket.accept()
    session = Session(socket, opened, service.limits, idle_s=query.idle_s, is_single=is_single)
    await session.run()


async def _encoded(
    encoder: Encoder, chunks: AsyncGenerator[Chunk, None]
) -> AsyncGenerator[bytes, None]:
    """The bytes of an answer as they come."""
    async with aclosing(chunks):
        async for chunk in chunks:
            if sound := await encoder.push(chunk.samples):
                yield sound
    yield await encoder.finish()
