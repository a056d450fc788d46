"""A client's session and the node that speaks it: found, held, and found anew when it fails.

    voice ─▶ what it means ─▶ placement ─▶ a seat, here or there ─▶ sound
             (store)           ▲  │ no room, or no answer: the next node
                               │  └───────────────────────────▶ Busy, NodeError
                               └─ the node failed: the utterance it was at is spoken again elsewhere

The client's own socket or request stays where it is, and so do its text, its encoder and its
letters' times: whatever the format, the sound goes on in it. Of an utterance that was cut off the
beginning is heard twice, and no word is lost; or its client is told, if that is what it asked for.
A session stays where it is until its node fails, whoever joins.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from enum import StrEnum

from orpheus_clone import layout
from orpheus_clone.cluster.placement import Wanted
from orpheus_clone.cluster.state import NodeState, Pool
from orpheus_clone.errors import (
    Busy,
    EngineDead,
    MachineError,
    NodeError,
    OrpheusCloneError,
    StoreError,
    UnknownVoice,
)
from orpheus_clone.serve import logs, tracing
from orpheus_clone.serve.headers import SESSION
from orpheus_clone.serve.lines import Lines
from orpheus_clone.serve.remote import FarSeat
from orpheus_clone.serve.seats import Order, OwnSeat, Seat
from orpheus_clone.serve.service import Service
from orpheus_clone.speech import Chunk
from orpheus_clone.store.pointer import Arm


class OnFailure(StrEnum):
    """What a client wants where a node fails in the middle of a sentence."""

    REPEAT = "repeat"
    """Another node says the sentence again."""
    ERROR = "error"
    """To be told."""


ELSEWHERE = (Busy, EngineDead, MachineError, NodeError, StoreError)
"""What is wrong with a node, and not with what was asked of it."""
MOST_MOVES = 3
"""An utterance at which so many nodes have failed is not tried on a further one: it may be why."""

log = logging.getLogger(__name__)


@asynccontextmanager
async def placed(
    service: Service,
    voice: str,
    headers: Mapping[str, str],
    *,
    patience_s: float = 0.0,
    on_failure: OnFailure = OnFailure.REPEAT,
) -> AsyncGenerator["Placed", None]:
    """A session of a client that sent `headers`, once a node has room for it; see `Placed`.

    UnknownVoice, or DataError for what is no voice's name; Busy or NodeError where no node can
    speak it now, or this one is about to stop.
    """
    service.admission.check_stays()  # another node would speak, and this one would cut it off
    named = headers.get(SESSION) or uuid.uuid4().hex
    logs.bind(voice=voice)
    wanted, arm = await _wanted(service, voice, named)
    order = Order(wanted, arm, patience_s)
    session = Placed(service, order, on_failure)
    try:
        with tracing.span("placement", voice=voice):
            await session.open()
        yield session
    finally:
        await session.close()


class Placed:
    """See the module docstring."""

    def __init__(self, service: Service, order: Order, on_failure: OnFailure) -> None:
        self._service, self._order, self._on_failure = service, order, on_failure
        self._id = uuid.uuid4().hex
        self._seat: Seat | None = None
        self._moving = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._speaking = 0
        """Texts that are spoken at once, a context each."""
        self.node = ""
        """The id of the node that speaks, or spoke last."""
        self.bundle: str | None = None
        """Who speaks; None for a stock voice."""

    @property
    def pool(self) -> Pool:
        """The nodes that can speak it."""
        return self._order.wanted.pool

    async def open(self) -> None:
        """Take a seat; errors as `placed` says."""
        await self._seated()

    async def close(self) -> None:
        """Give it back."""
        self._service.membership.placement.end(self._id)
        if self._seat is not None:
            await self._seat.close()
        await asyncio.gather(*self._closing)

    async def speak(self, lines: Lines) -> AsyncGenerator[Chunk, None]:
        """Sound of a text as it comes, from one node after the other if it must be."""
        self._speaking += 1
        try:
            async with aclosing(self._spoken(lines)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._speaking -= 1

    async def _spoken(self, lines: Lines) -> AsyncGenerator[Chunk, None]:
        seat, moves = await self._seated(), 0
        while True:
            is_heard = False
            """Of the utterance that is spoken, something was."""
            try:
                async with aclosing(seat.speak(lines)) as chunks:
                    async for chunk in chunks:
                        is_heard = is_heard or len(chunk.samples) > 0
                        if chunk.finish is not None:
                            lines.spoken()
                            moves, is_heard = 0, False
                        yield chunk
                return
            except ELSEWHERE as error:
                if isinstance(error, Busy) and self._speaking > 1:
                    raise  # the others are heard where they are
                self._leave(seat, error)
                moves += 1
                if moves == MOST_MOVES or (is_heard and self._on_failure is OnFailure.ERROR):
                    raise
                lines.again()
                if lines.is_over:
                    return  # all of it was heard
                seat = await self._seated(seat.node, error)

    async def _seated(self, left: str = "", why: OrpheusCloneError | None = None) -> Seat:
        """The seat; of all streams that have just `left` a node, the first finds another."""
        async with self._moving:
            if self._seat is None:
                self._seat = await self._take({left}, why)
                self.node, self.bundle = self._seat.node, self._seat.bundle
            return self._seat

    def _leave(self, seat: Seat, error: OrpheusCloneError) -> None:
        if self._seat is not seat:
            return  # another stream was faster
        log.warning("a session leaves node %s: %s", seat.node, error)
        self._service.metrics.moved.inc()
        self._suspect(seat.node, error)
        self._seat = None
        closing = asyncio.create_task(seat.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _take(self, without: set[str], refusal: OrpheusCloneError | None) -> Seat:
        """A seat at the first node of the voice's order that gives one; else the last `refusal`."""
        placement = self._service.membership.placement
        while True:
            try:
                node = placement.place(self._order.wanted, self._id, without)
            except (Busy, NodeError) as error:
                raise refusal or error from None
            try:
                return await self._at(node)
            except ELSEWHERE as error:
                log.warning("node %s takes no session: %s", node.id, error)
                self._suspect(node.id, error)
                refusal = error
                without.add(node.id)

    async def _at(self, node: NodeState) -> Seat:
        service = self._service
        if node.id == service.membership.me.id:
            return await OwnSeat.take(service, self._order)
        with service.metrics.proxy_hop.time(), tracing.span("carry", node=node.id):
            seat = await FarSeat.take(service.links, node, self._order)
        service.metrics.proxied.inc()
        return seat

    def _suspect(self, node: str, error: OrpheusCloneError) -> None:
        """Keep new sessions away from a node that is dead, though not from one that is full."""
        if isinstance(error, EngineDead) or type(error) is NodeError:
            self._service.membership.placement.suspect(node)


async def _wanted(service: Service, voice: str, session: str) -> tuple[Wanted, Arm]:
    """What a voice's name means to a session: of this node's base, in the store, or of others'."""
    node, members = service.node, service.membership
    if voice in node.speaker.base.voices:
        return Wanted(voice, members.me.pool), "current"
    layout.checked_voice_name(voice)
    try:
        meant = await node.ask(node.meant, voice, session)
    except UnknownVoice:
        for other in members.everybody():
            if voice in other.voices:
                return Wanted(voice, other.pool), "current"
        raise
    return Wanted(voice, Pool(meant.card.base_digest, meant.card.language), meant.bundle), meant.arm
