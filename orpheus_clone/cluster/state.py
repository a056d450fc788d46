"""What a node says about itself in each heartbeat, and its JSON.

Versions live side by side: fields that this one does not know are ignored, those that another did
not write have their default, and a phase that only a newer one has is no phase to send sessions to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import TypeAdapter

from orpheus_clone import __version__


class Phase(StrEnum):
    """Where a node is in its life; see `next_phase`.

    joining ─▶ warming ─▶ ready ─▶ draining ─▶ left        (and to left from anywhere)
    """

    JOINING = "joining"
    """Nobody knows it yet."""
    WARMING = "warming"
    """Known, and it does not speak yet."""
    READY = "ready"
    """The only phase in which it gets new sessions."""
    DRAINING = "draining"
    """It finishes the sessions that it has."""
    LEFT = "left"
    """Gone, or another process has its id."""

    @classmethod
    def _missing_(cls, _value: object) -> "Phase":
        return cls.WARMING


_FOLLOWS: Mapping[Phase, frozenset[Phase]] = {
    Phase.JOINING: frozenset({Phase.WARMING, Phase.LEFT}),
    Phase.WARMING: frozenset({Phase.READY, Phase.DRAINING, Phase.LEFT}),
    Phase.READY: frozenset({Phase.DRAINING, Phase.LEFT}),
    Phase.DRAINING: frozenset({Phase.LEFT}),
    Phase.LEFT: frozenset(),
}


def next_phase(now: Phase, then: Phase) -> Phase:
    """`then`; ValueError (a bug of ours) if it cannot follow."""
    if then not in _FOLLOWS[now]:
        raise ValueError(f"a node that is {now} cannot be {then} next")
    return then


@dataclass(frozen=True)
class Pool:
    """Nodes that can speak each other's voices: one base model, one language."""

    base_digest: str
    language: str


@dataclass(frozen=True)
class Load:
    """What a node has to do now."""

    sessions: int = 0
    """Live ones."""
    slots: int = 0
    """Adapters that its engine holds at most."""
    resident: Mapping[str, int] = field(default_factory=dict)
    """The bundles that it holds, and how many sessions speak with each; those with none may go."""


@dataclass(frozen=True)
class NodeState:
    """A node as others see it."""

    id: str
    url: str
    """Where other nodes reach it."""
    pool: Pool
    incarnation: str = ""
    """Drawn by each process anew, so that two with one id are told apart."""
    phase: Phase = Phase.READY
    beat: int = 0
    """Counts its heartbeats: what is newer needs no clock."""
    load: Load = Load()
    version: str = __version__
    """Of the program."""
    voices: tuple[str, ...] = ()
    """The stock voices of its base."""

    @property
    def life(self) -> tuple[str, str]:
        """One process of the node: started again, it knows nothing of its sessions."""
        return self.id, self.incarnation

    def to_json(self) -> str:
        """What is written to the registry."""
        return _JSON.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "NodeState":
        """ValueError where it is no node's state."""
        return _JSON.validate_json(text)


_JSON = TypeAdapter(NodeState)
