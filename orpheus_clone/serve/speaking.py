"""What every protocol does with a text that is all there: check it, wait for its first sound."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from orpheus_clone.errors import EngineError
from orpheus_clone.serve.headers import BUNDLE, NODE
from orpheus_clone.serve.lines import Lines
from orpheus_clone.serve.placed import Placed
from orpheus_clone.serve.service import Service
from orpheus_clone.speech import Chunk


def written(service: Service, session: Placed, text: str, began: float) -> Lines:
    """A text that came at `began`; TextError, before any sound is made, if it cannot be said.

    Of a base that is not here, that is found out by a node that has it, where it comes to it.
    """
    if session.pool == service.membership.me.pool:
        service.node.speaker.script(text)
    lines = Lines(session.pool.language, began=began)
    lines.write(text)
    lines.end()
    return lines


def who(session: Placed) -> dict[str, str]:
    """The headers of an answer that say who speaks."""
    return {NODE: session.node, BUNDLE: session.bundle or "none"}


async def begun(chunks: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Chunk, None]:
    """The same chunks, once the first of them is there.

    So what goes wrong before that is still an answer with a status of its own.
    """
    first = await anext(chunks, None)
    if first is None:
        raise EngineError("the engine made no sound")
    return _chain(first, chunks)


async def _chain(first: Chunk, rest: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Chunk, None]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk
