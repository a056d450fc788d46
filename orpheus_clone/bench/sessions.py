"""A fleet in numbers: sessions of Zipf's voices come and go, and `cluster.placement` places them.

The number of live sessions is held: one that ends makes room for the next, so that each lives
MEAN_SECONDS on average. Popularity is Zipf(1). What is measured is of the second half, after the
fleet has filled and the demand for each voice is known.

With more than one front, each session comes in at one of them at random, and what a front knows of
the others' sessions is what nodes said in their last heartbeat. That is how a fleet works; with one
front the cap is exact.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from orpheus_clone.cluster.placement import Placement, Wanted
from orpheus_clone.cluster.registry import HEARTBEAT_SECONDS
from orpheus_clone.cluster.state import Load, NodeState, Pool

MEAN_SECONDS = 60.0
"""How long a session lives."""
SLOTS = 10_000
"""More than there are voices on a node: room is not what is measured."""
POOL = Pool("0" * 64, "en")

_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Scenario:
    """A fleet, and how many want something of it."""

    nodes: int
    voices: int
    live: int
    """Sessions at a time."""
    sessions: int
    """In all."""
    fronts: int = 1
    """Nodes at which sessions come in."""


@dataclass(frozen=True)
class Outcome:
    """What came of it; of the second half of the heartbeats."""

    max_over_mean: float
    """Live sessions of the fullest node, at the worst heartbeat."""
    hash_max_over_mean: float
    """The same, had every session gone to the node that a hash gives its voice."""
    placements_per_voice: float
    """Nodes on which a voice has live sessions: mean of those that have any, and of heartbeats."""
    us_per_session: float
    """In `place` and `end`, of processor time."""


class Fleet:
    """The simulation; `owners` is for each voice the node that a hash would choose, by number."""

    def __init__(self, scenario: Scenario, owners: Sequence[int], seed: int = 0) -> None:
        self.scenario = scenario
        self._owners = np.asarray(owners)
        self._random = np.random.default_rng(seed)
        self._now = 0.0
        self.states = [_node(name) for name in node_names(scenario.nodes)]
        self._numbers = {state.id: number for number, state in enumerate(self.states)}
        self._fronts = [Placement(clock=lambda: self._now) for _ in range(scenario.fronts)]
        self._wanted = [Wanted(v, POOL, f"{v}@1") for v in voice_names(scenario.voices)]
        # Of each live session its name and front, and the numbers of its voice and node.
        self._sessions = [""] * scenario.live
        self._front_of = [0] * scenario.live
        self._voice_of = np.zeros(scenario.live, np.int64)
        self._node_of = np.zeros(scenario.live, np.int64)

    def run(self) -> Outcome:
        """Let all sessions come and go."""
        scenario, seconds = self.scenario, 0.0
        heartbeat = max(1, round(scenario.live / MEAN_SECONDS * HEARTBEAT_SECONDS))
        measured: list[tuple[float, float, float]] = []
        for number, (voice, front, seat) in enumerate(self._drawn()):
            if number % heartbeat == 0:
                self.heartbeat()
                if number > scenario.sessions / 2:
                    measured.append(self._measure())
            began = time.process_time()
            self._fronts[self._front_of[seat]].end(self._sessions[seat])
            self._sessions[seat], self._front_of[seat] = str(number), front
            self._voice_of[seat] = voice
            self._node_of[seat] = self.ask(seat)
            seconds += time.process_time() - began
            self._now += MEAN_SECONDS / scenario.live
        fullest, by_hash, placements = np.array(measured).T
        return Outcome(
            max_over_mean=float(fullest.max()),
            hash_max_over_mean=float(by_hash.max()),
            placements_per_voice=float(placements.mean()),
            us_per_session=1e6 * seconds / scenario.sessions,
        )

    def ask(self, seat: int) -> int:
        """The number of the node that speaks a session, as its front has it."""
        wanted = self._wanted[self._voice_of[seat]]
        placement = self._fronts[self._front_of[seat]]
        return self._numbers[placement.place(wanted, self._sessions[seat]).id]

    def heartbeat(self) -> None:
        """Every node says what it does, and every front hears it."""
        if len(self._fronts) > 1:  # one that has placed all there are knows
            warm = self._warm()
            self.states = [self._said(state, warm[state.id]) for state in self.states]
        for front in self._fronts:
            front.see(self.states)

    def needless_moves(self) -> tuple[int, int]:
        """Live sessions that move though their node stays: when a node leaves, and when one joins.

        Nodes are taken out and put back one after another; each time every session asks again.
        """
        on_leave = on_join = 0
        every = self.states
        for gone in every:
            before = self._node_of.copy()
            self.states = [state for state in every if state.id != gone.id]
            after = self._ask_again()
            on_leave += int(((after != before) & (before != self._numbers[gone.id])).sum())
            self.states = every
            on_join += int((self._ask_again() != after).sum())
        return on_leave, on_join

    def _drawn(self) -> "zip[tuple[int, int, int]]":
        """For each session its voice, its front, and whose seat it takes; at first free ones."""
        scenario, random = self.scenario, self._random
        voices = random.choice(scenario.voices, scenario.sessions, p=zipf(scenario.voices))
        fronts = random.integers(scenario.fronts, size=scenario.sessions)
        seats = random.integers(scenario.live, size=scenario.sessions)
        seats[: scenario.live] = np.arange(scenario.live)
        return zip(voices.tolist(), fronts.tolist(), seats.tolist(), strict=True)

    def _measure(self) -> tuple[float, float, float]:
        """Max over mean, the same by the hash alone, and placements per voice, now."""
        mean = self.scenario.live / self.scenario.nodes
        placed = np.unique(self._voice_of * self.scenario.nodes + self._node_of)
        return (
            np.bincount(self._node_of).max() / mean,
            np.bincount(self._owners[self._voice_of]).max() / mean,
            len(placed) / len(np.unique(self._voice_of)),
        )

    def _warm(self) -> dict[str, dict[str, int]]:
        """For each node the bundles that it loads, whether or not it speaks them yet."""
        warm: dict[str, dict[str, int]] = {state.id: {} for state in self.states}
        for wanted in self._wanted:
            for node in self._fronts[0].holders(wanted):
                warm.setdefault(node.id, {})[f"{wanted.bundle}"] = 0
        return warm

    def _said(self, state: NodeState, warm: dict[str, int]) -> NodeState:
        spoken = self._voice_of[self._node_of == self._numbers[state.id]]
        voices, counts = np.unique(spoken, return_counts=True)
        names = [f"{self._wanted[voice].bundle}" for voice in voices]
        resident = warm | dict(zip(names, counts.tolist(), strict=True))
        load = Load(len(spoken), SLOTS, resident)
        return replace(state, beat=state.beat + 1, load=load)

    def _ask_again(self) -> _Array:
        self.heartbeat()
        self._node_of = np.array([self.ask(seat) for seat in range(self.scenario.live)])
        return self._node_of


def node_names(count: int) -> list[str]:
    """The names of so many nodes."""
    return [f"node-{number}" for number in range(count)]


def voice_names(count: int) -> list[str]:
    """The names of so many voices, the most popular first."""
    return [f"voice-{number}" for number in range(count)]


def zipf(voices: int) -> _Array:
    """How likely a session wants each voice: the second half as often as the first, and so on."""
    weight = 1 / np.arange(1, voices + 1)
    return np.asarray(weight / weight.sum())


def _node(name: str) -> NodeState:
    return NodeState(name, f"http://{name}", POOL, load=Load(slots=SLOTS))
