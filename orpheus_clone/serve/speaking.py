"""What every protocol does with a text: find the voice, let it speak, count what it says."""

import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from fastapi import Request

from orpheus_clone import layout
from orpheus_clone.errors import EngineError
from orpheus_clone.serve.metrics import Hearing, Metrics
from orpheus_clone.serve.node import Found
from orpheus_clone.serve.proxy import Proxy
from orpheus_clone.serve.service import Service
from orpheus_clone.serve.streaming import ClosingResponse
from orpheus_clone.speech import Chunk


async def carried(
    service: Service, proxy: Proxy, request: Request, voice: str
) -> ClosingResponse | None:
    """The answer of the node that owns the voice, or None if this one is to speak.

    DataError for what is no voice's name: it is not to be looked for anywhere.
    """
    if voice in service.node.speaker.base.voices:
        return None
    answer = await proxy.to_owner(request, layout.checked_voice_name(voice))
    if answer is not None:
        service.metrics.proxied.inc()
    return answer


async def find(service: Service, voice: str, session: str | None) -> Found:
    """Who speaks as `voice` in a client's session; a request that names none is one of its own."""
    return await service.node.choose(voice, session or uuid.uuid4().hex)


async def begin(
    service: Service, found: Found, text: str, began: float
) -> AsyncGenerator[Chunk, None]:
    """Sound of a text that is all there, once the first of it is.

    So what goes wrong before that is still an answer with a status of its own.
    """
    service.node.speaker.script(text)
    spoken = service.node.speak(text, found.voice)
    chunks = counted(spoken, service.metrics, found, lambda: began)
    first = await anext(chunks, None)
    if first is None:
        raise EngineError("the engine made no sound")
    return _chain(first, chunks)


async def _chain(first: Chunk, rest: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Chunk, None]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


async def counted(
    chunks: AsyncGenerator[Chunk, None],
    metrics: Metrics,
    found: Found,
    began: Callable[[], float],
) -> AsyncGenerator[Chunk, None]:
    """The same chunks, counted; `began` is when the first of the text was there to be spoken."""
    hearing = Hearing(metrics, began)
    with metrics.sessions.track_inprogress(), metrics.voice(found.bundle, found.arm) as ended:
        async with aclosing(chunks):
            async for chunk in chunks:
                hearing.take(chunk)
                if chunk.finish is not None:
                    ended(chunk.finish)
                yield chunk
