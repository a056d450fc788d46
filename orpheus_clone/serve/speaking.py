"""What every protocol does with a text that is all there: check it, wait for its first sound."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import ClientDisconnect, Request

from orpheus_clone.errors import EngineError
from orpheus_clone.serve.headers import BUNDLE, NODE
from orpheus_clone.serve.lines import Lines
from orpheus_clone.serve.placed import Placed
from orpheus_clone.serve.service import Service
from orpheus_clone.speech import Chunk
from orpheus_clone.text import clean


def written(service: Service, session: Placed, text: str, began: float) -> Lines:
    """A text that came at `began`; TextError, before any sound is made, if it cannot be said.

    Of a base that is not here, that is found out by a node that has it, where it comes to it.
    """
    if session.pool == service.membership.me.pool:
        clean(text, service.node.speaker.base.tags)
    lines = Lines(session.pool.language, began=began)
    lines.write(text)
    lines.end()
    return lines


def who(session: Placed) -> dict[str, str]:
    """The headers of an answer that say who speaks."""
    return {NODE: session.node, BUNDLE: session.bundle or "none"}


async def begun(
    chunks: AsyncGenerator[Chunk, None], request: Request
) -> AsyncGenerator[Chunk, None]:
    """The same chunks, once the first of them is there; ClientDisconnect if its client is gone.

    So what goes wrong before that is still an answer with a status of its own.
    """
    coming = asyncio.create_task(_first(chunks))
    both = (coming, asyncio.create_task(_gone(request)))
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            raise ClientDisconnect
        return _chain(coming.result(), chunks)
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)


async def _first(chunks: AsyncGenerator[Chunk, None]) -> Chunk:
    first = await anext(chunks, None)
    if first is None:
        raise EngineError("the engine made no sound")
    return first


async def _gone(request: Request) -> None:
    """Once the client of a request that was read has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _chain(first: Chunk, rest: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Chunk, None]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk
