"""ElevenLabs' interface, as its own client, LiveKit's and Pipecat's plugins speak it.

    POST /v1/text-to-speech/{voice} and …/stream        sound of a text
    WS   /v1/text-to-speech/{voice}/stream-input        text in as it comes, sound out
    WS   /v1/text-to-speech/{voice}/multi-stream-input  many contexts on one socket
    GET  /v1/voices                                     what can be spoken with

A voice's id is its name. `output_format`, `inactivity_timeout`, `auto_mode`,
`sync_alignment` and a `speed` in the voice settings are followed; models, languages and other
settings are taken and not followed.

`on_failure` is ours: "repeat" (as it is without) lets another node say the sentence again during
which its node failed, "error" tells the client.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.websockets import WebSocket

from orpheus_clone.errors import DataError, OrpheusCloneError
from orpheus_clone.serve import formats, refusals, speaking
from orpheus_clone.serve.contexts import Context
from orpheus_clone.serve.encode import Encoder
from orpheus_clone.serve.formats import Format
from orpheus_clone.serve.limits import Limits
from orpheus_clone.serve.messages import ClientMessage, VoiceSettings
from orpheus_clone.serve.placed import OnFailure, Placed, placed
from orpheus_clone.serve.service import Service
from orpheus_clone.serve.session import Session
from orpheus_clone.serve.streaming import ClosingResponse
from orpheus_clone.speech import Chunk

_PATH = "/v1/text-to-speech/{voice}"
LONGEST_TEXT = 8000
"""Characters of a request."""
IDLE_S = 20.0
"""`inactivity_timeout` where the client names none."""
SHORTEST_IDLE_S = 0.1
PATIENCE_S = 5.0
"""What is said over a socket waits so long for room; LiveKit gives up after 10 s."""


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
    on_failure: OnFailure

    @classmethod
    def of(cls, socket: WebSocket, limits: Limits) -> "Query":
        """DataError says which parameter is wrong."""
        given = socket.query_params
        seconds = given.get("inactivity_timeout", str(IDLE_S))
        try:
            idle_s = float(seconds)
        except ValueError:
            idle_s = 0.0
        if not SHORTEST_IDLE_S <= idle_s <= limits.idle_seconds:
            span = f"from {SHORTEST_IDLE_S:g} to {limits.idle_seconds:g} seconds"
            raise DataError(f"inactivity_timeout: {seconds!r} is not {span}")
        form = formats.elevenlabs(given.get("output_format", formats.ELEVENLABS_DEFAULT))
        is_auto, is_synchronised = (
            given.get(flag, "").lower() == "true" for flag in ("auto_mode", "sync_alignment")
        )
        try:
            on_failure = OnFailure(given.get("on_failure", OnFailure.REPEAT))
        except ValueError:
            raise DataError(f"on_failure: it is one of {', '.join(OnFailure)}") from None
        return cls(form, idle_s, is_auto, is_synchronised, on_failure)


def routes(service: Service) -> APIRouter:
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
        on_failure: OnFailure = OnFailure.REPEAT,
    ) -> Response:
        began = time.perf_counter()
        form = formats.elevenlabs(output_format)
        async with AsyncExitStack() as held:
            session = await held.enter_async_context(
                placed(service, voice, request.headers, on_failure=on_failure)
            )
            lines = speaking.written(service, session, body.text, began)
            spoken = await held.enter_async_context(aclosing(session.speak(lines)))
            chunks = await speaking.begun(spoken, request)
            return ClosingResponse(
                _encoded(Encoder(form, body.speed), chunks),
                media_type=form.media_type,
                stall_s=service.limits.write_stall_seconds,
                headers=speaking.who(session),
                held=held.pop_all(),
            )

    @router.websocket(_PATH + "/stream-input")
    async def single(voice: str, socket: WebSocket) -> None:
        await _serve(service, voice, socket, is_single=True)

    @router.websocket(_PATH + "/multi-stream-input")
    async def multi(voice: str, socket: WebSocket) -> None:
        await _serve(service, voice, socket, is_single=False)

    @router.get("/v1/voices")
    async def voices() -> dict[str, Any]:
        stock, cloned = node.speaker.base.voices, await node.ask(lambda: list(node.published()))
        names = [pointer.voice for pointer, error in cloned if pointer.current or error]
        premade = [{"voice_id": name, "name": name, "category": "premade"} for name in stock]
        own = [{"voice_id": name, "name": name, "category": "cloned"} for name in names]
        return {"voices": premade + own}

    return router


async def _serve(service: Service, voice: str, socket: WebSocket, *, is_single: bool) -> None:
    """Refuse a socket, or serve it to its end."""
    async with AsyncExitStack() as held:
        try:
            query = Query.of(socket, service.limits)
            session = await held.enter_async_context(
                placed(
                    service,
                    voice,
                    socket.headers,
                    patience_s=PATIENCE_S,
                    on_failure=query.on_failure,
                )
            )
        except OrpheusCloneError as error:
            service.metrics.rejected.labels(type(error).__name__).inc()
            await refusals.deny(socket, refusals.of(error))
            return
        await socket.accept()
        await _client(service, session, socket, query, is_single=is_single).run()


def _client(
    service: Service, placed_at: Placed, socket: WebSocket, query: Query, *, is_single: bool
) -> Session:
    """The client's end of a session."""

    def opened(name: str, message: ClientMessage) -> Context:
        return Context(
            None if is_single else name,
            placed_at.speak,
            client.send,
            query.form,
            language=placed_at.pool.language,
            speed=message.speed,
            is_auto=query.is_auto,
            is_synchronised=query.is_synchronised,
        )

    client = Session(socket, opened, service.limits, idle_s=query.idle_s, is_single=is_single)
    return client


async def _encoded(
    encoder: Encoder, chunks: AsyncGenerator[Chunk, None]
) -> AsyncGenerator[bytes, None]:
    """The bytes of an answer as they come."""
    async with aclosing(chunks):
        async for chunk in chunks:
            if sound := await encoder.push(chunk.samples):
                yield sound
    yield await encoder.finish()
