"""A seat at another node, seen from the node that was asked.

lines ─▶ say ─────────▶ one socket, links ───▶ hosting, at the node that speaks
chunks ◀─ a queue for each stream ◀─ sorted ◀─┘
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass

from orpheus_clone.cluster.state import NodeState
from orpheus_clone.errors import NodeError
from orpheus_clone.serve import tracing, wire
from orpheus_clone.serve.lines import Lines
from orpheus_clone.serve.links import Heard, Link, Links
from orpheus_clone.serve.seats import Order
from orpheus_clone.serve.wire import Answered, Asked, Opening
from orpheus_clone.speech import Chunk

log = logging.getLogger(__name__)


@dataclass
class _Stream:
    """A text that is being spoken."""

    number: int
    heard: Heard
    taken: int = 0
    """Chunks that the node was not told of."""
    is_open: bool = False
    """The node knows of it."""
    has_more: bool = False
    """The node was told that another utterance is there."""


class FarSeat:
    """See the module docstring."""

    def __init__(self, links: Links, link: Link, bundle: str | None) -> None:
        self.node, self.bundle = link.node.id, bundle
        self._links, self._link = links, link

    @classmethod
    async def take(cls, links: Links, node: NodeState, order: Order) -> "FarSeat":
        """Once the voice is ready there; errors as the node told them, NodeError if it did not."""
        warm = links.warm(node)
        if warm is not None:
            try:
                return await cls._at(warm, links, order)
            except NodeError as error:
                log.info("node %s is connected to anew: %s", node.id, error)
        return await cls._at(await links.connect(node), links, order)

    @classmethod
    async def _at(cls, link: Link, links: Links, order: Order) -> "FarSeat":
        try:
            answer = await link.open(_opening(order))
        except BaseException:  # nobody knows what is open there now
            await link.close()
            raise
        if answer.error is not None:
            await links.keep(link)
            raise wire.raised(answer.error)
        return cls(links, link, answer.bundle)

    async def speak(self, lines: Lines) -> AsyncGenerator[Chunk, None]:
        """See `Seat`."""
        stream = _Stream(*self._link.listen())
        try:
            async with aclosing(self._spoken(stream, lines)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._link.left(stream.number)
            if stream.is_open:
                await self._tell(Asked(stream=stream.number, cancel=True))

    async def close(self) -> None:
        """See `Seat`."""
        try:
            await self._tell(Asked(end=True))
        finally:
            await self._links.keep(self._link)

    async def _spoken(self, stream: _Stream, lines: Lines) -> AsyncGenerator[Chunk, None]:
        """One utterance after the other, and what is left at the end."""
        while (utterance := await lines.next()) is not None:
            stream.is_open, stream.has_more = True, lines.is_there
            said = Asked(stream=stream.number, say=utterance, more=stream.has_more)
            await self._link.ask(said)
            while (chunk := await self._next(stream)) is not None:
                yield chunk
                if lines.is_there and not stream.has_more:
                    stream.has_more = True
                    await self._tell(Asked(stream=stream.number, more=True))
        if stream.is_open:
            await self._link.ask(Asked(stream=stream.number, end=True))
            while (chunk := await self._next(stream)) is not None:
                yield chunk
            stream.is_open = False

    async def _next(self, stream: _Stream) -> Chunk | None:
        """The next chunk; None where the node wants the next utterance, or has said all."""
        if stream.taken == wire.TOOK:
            stream.taken = 0
            await self._tell(Asked(stream=stream.number, took=wire.TOOK))
        heard: Chunk | Answered = await self._link.next(stream.heard)
        if isinstance(heard, Chunk):
            stream.taken += 1
            return heard
        if heard.error is not None:
            stream.is_open = False
            raise wire.raised(heard.error)
        return None

    async def _tell(self, asked: Asked) -> None:
        """What a node that is gone need not hear: what it sent before is heard all the same."""
        with suppress(NodeError):
            await self._link.ask(asked)


def _opening(order: Order) -> Opening:
    wanted = order.wanted
    return Opening(
        voice=wanted.voice,
        base_digest=wanted.pool.base_digest,
        language=wanted.pool.language,
        bundle=wanted.bundle,
        arm=order.arm,
        patience_s=order.patience_s,
        trace=tracing.headers(),
    )
