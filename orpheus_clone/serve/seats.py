"""Where a session speaks: a seat at a node, taken when it is admitted there and given back once.

    Seat ─┬─ OwnSeat      at this node                        here
          └─ FarSeat      at another, over a socket           remote

A session that moves to another node takes a seat there, and goes on with the same texts.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from typing import Protocol

from orpheus_clone.cluster.placement import Wanted
from orpheus_clone.serve.lines import Lines
from orpheus_clone.serve.metrics import Hearing
from orpheus_clone.serve.node import Found
from orpheus_clone.serve.service import Service
from orpheus_clone.serve.turns import Text
from orpheus_clone.speech import Chunk
from orpheus_clone.store.pointer import Arm


@dataclass(frozen=True)
class Order:
    """What a session wants of the node that it is placed on."""

    wanted: Wanted
    arm: Arm
    patience_s: float
    """How long its utterances wait for room before they are refused with Busy."""


class Seat(Protocol):
    """See the module docstring."""

    node: str
    """The node's id."""
    bundle: str | None
    """Who speaks; None for a stock voice. Not the wanted one where a canary cannot speak."""

    def speak(self, lines: Lines) -> AsyncGenerator[Chunk, None]:
        """Sound of a text as it comes; NodeError or EngineDead where the node has failed."""
        ...

    async def close(self) -> None:
        """Give it back; what is being spoken ends."""
        ...


class OwnSeat:
    """A seat at this node."""

    def __init__(self, service: Service, found: Found, order: Order, admitted: ExitStack) -> None:
        self.node, self.bundle = service.membership.me.id, found.bundle
        self._service, self._found, self._admitted = service, found, admitted
        self._patience_s = order.patience_s

    @classmethod
    async def take(cls, service: Service, order: Order) -> "OwnSeat":
        """Once the voice is ready; Busy where the node has no room for the session."""
        wanted = order.wanted
        with ExitStack() as admitted:
            admitted.enter_context(service.node.admission.admitted())
            found = await service.node.open(wanted.voice, wanted.bundle, order.arm)
            service.metrics.seated(found.bundle, found.arm)
            return cls(service, found, order, admitted.pop_all())

    def speak(self, lines: Lines) -> AsyncGenerator[Chunk, None]:
        """See `Seat`."""
        return self.sound(lines, lambda: lines.began)

    async def sound(self, text: Text, began: Callable[[], float]) -> AsyncGenerator[Chunk, None]:
        """Sound of any text, counted; it `began` to be there then, by `time.perf_counter`."""
        spoken = self._service.node.speak(text, self._found.voice, patience_s=self._patience_s)
        metrics, found = self._service.metrics, self._found
        hearing = Hearing(metrics, began)
        with metrics.utterances(found.bundle, found.arm) as ended:
            async with aclosing(spoken) as chunks:
                async for chunk in chunks:
                    hearing.take(chunk)
                    if chunk.finish is not None:
                        ended(chunk.finish)
                    yield chunk
                    hearing.taken()

    async def close(self) -> None:
        """See `Seat`."""
        self._admitted.close()
