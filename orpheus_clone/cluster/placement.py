"""Which node speaks a session: `place(wanted, session_id)`.

    voice ─▶ order of preference ─▶ its first replicas ─▶ the least busy of those that are
             (ring of its pool)     (or the next nodes)   ready and not suspected, below the cap,
                                                          with the adapter or a slot for it

Nobody waits for an adapter to be loaded where another node has it: a replica that is new gets its
first session once it says that it holds the bundle, and until then who held it before goes on.

The cap is ceil(1.1 x (live sessions + 1) / ready nodes) of the pool, since the hash alone gives the
node of a popular voice twice its share; and at least `LEAST_SESSIONS`, which are not worth a second
adapter. There is always a node below it. The choice is written down once: a live session never
moves, whoever joins, and one whose node is gone is placed anew. Nobody is asked: all this is of the
last heartbeats and of what was placed here since.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from orpheus_clone.cluster.replicas import LEAST_SESSIONS, Replicas
from orpheus_clone.cluster.ring import Ring
from orpheus_clone.cluster.state import NodeState, Phase, Pool
from orpheus_clone.errors import Busy, NodeError

CAP_PERCENT = 110
"""Sessions of the fullest node over the mean (`bench ring`)."""
BEATS_UNTIL_REPORTED = 2
"""The next heartbeat may have been written before a session came; the one after it was not."""


@dataclass(frozen=True)
class Wanted:
    """What a session is to be spoken with."""

    voice: str
    pool: Pool
    bundle: str | None = None
    """The side of a canary that the session is on; None for a stock voice, which needs no slot."""

    def key(self, session_id: str) -> str:
        """What the order of preference depends on: sessions of a cloned voice stay together."""
        return session_id if self.bundle is None else self.voice


@dataclass(slots=True)
class _Node:
    """A node, and what is thought to be going on there."""

    state: NodeState
    is_open: bool
    """Takes new sessions."""
    sessions: int
    speaking: Counter[str]
    """Sessions of each bundle that has any; the others that are resident make room."""

    def takes(self, bundle: str | None, cap: int) -> bool:
        """Whether it is below the cap, and has the adapter or a slot for it."""
        return self.sessions < cap and (
            bundle is None or bundle in self.speaking or len(self.speaking) < self.state.load.slots
        )

    def holds(self, bundle: str | None) -> bool:
        """Whether it had the bundle in its engine when it last said so."""
        return bundle in self.state.load.resident


@dataclass
class _Group:
    """The nodes of one pool."""

    ring: Ring
    replicas: Replicas
    open: int = 0
    """Nodes that take new sessions."""
    sessions: int = 0
    """On these."""
    spread: dict[str, list[_Node]] = field(default_factory=dict)
    """The replicas of the bundles that were asked for since the last heartbeat."""
    held: frozenset[str] = frozenset()
    """The bundles that some open node has in its engine."""


@dataclass(frozen=True, slots=True)
class _Session:
    """A session's choice, and since which heartbeat of its node it is reported there."""

    life: tuple[str, str]
    bundle: str | None
    reported_at: int


@dataclass
class Placement:
    """See the module docstring. `see` what the registry says, then `place` and `end` sessions."""

    cap_percent: int = CAP_PERCENT
    clock: Callable[[], float] = time.monotonic
    _nodes: dict[str, _Node] = field(default_factory=dict)
    _groups: dict[Pool, _Group] = field(default_factory=dict)
    _sessions: dict[str, _Session] = field(default_factory=dict)
    _suspects: dict[tuple[str, str], int] = field(default_factory=dict)

    def see(self, nodes: Iterable[NodeState]) -> None:
        """Take over what all nodes said last."""
        states = {node.id: node for node in nodes}
        self._suspects = {
            state.life: self._suspects[state.life]
            for state in states.values()
            if state.beat < self._suspects.get(state.life, 0)
        }
        self._nodes = {node_id: self._fresh(state) for node_id, state in states.items()}
        for session in self._sessions.values():
            node = self._node_of(session)
            if node is not None and node.state.beat < session.reported_at:
                _count(node, session.bundle, 1)
        self._groups = {pool: self._group(pool) for pool in {n.pool for n in states.values()}}

    def place(
        self, wanted: Wanted, session_id: str, without: Collection[str] = frozenset()
    ) -> NodeState:
        """The session's node: the one it has, unless that is gone or among `without`.

        `without` are nodes that refused it. NodeError if nobody of the voice's pool is ready; Busy
        if nobody can take it now.
        """
        kept = self._sessions.get(session_id)
        if kept is not None:
            node = self._node_of(kept)
            if node is not None and node.state.id not in without:
                return node.state
            self.end(session_id)
        node = self._choose(wanted, session_id, without)
        reported_at = node.state.beat + BEATS_UNTIL_REPORTED
        self._sessions[session_id] = _Session(node.state.life, wanted.bundle, reported_at)
        _count(node, wanted.bundle, 1)
        self._groups[wanted.pool].sessions += 1
        return node.state

    def end(self, session_id: str) -> None:
        """The session is over; one that is not known was over before."""
        session = self._sessions.pop(session_id, None)
        node = self._node_of(session) if session is not None else None
        # What its node has reported is the node's to take back.
        if session is None or node is None or node.state.beat >= session.reported_at:
            return
        _count(node, session.bundle, -1)
        if node.is_open:
            self._groups[node.state.pool].sessions -= 1

    def suspect(self, node_id: str) -> None:
        """A node broke a connection: no new sessions, until it has said that it lives."""
        node = self._nodes.get(node_id)
        if node is None:
            return
        self._suspects[node.state.life] = node.state.beat + BEATS_UNTIL_REPORTED
        if node.is_open:
            node.is_open = False
            group = self._groups[node.state.pool]
            group.open -= 1
            group.sessions -= node.sessions
            group.spread.clear()

    def preference(self, wanted: Wanted) -> list[NodeState]:
        """The open nodes of the voice's pool, those first that would speak it."""
        group = self._groups.get(wanted.pool)
        return [] if group is None else [n.state for n in self._in_order(group, wanted.voice)]

    def holders(self, wanted: Wanted) -> list[NodeState]:
        """The nodes that should have the bundle ready, in proportion to the demand for it."""
        group = self._groups.get(wanted.pool)
        return [] if group is None else [node.state for node in self._replicas(group, wanted)]

    def cap(self, pool: Pool) -> int:
        """Sessions that a node of the pool may have once the next is placed; 0 if none is open."""
        group = self._groups.get(pool)
        return 0 if group is None else self._cap(group.sessions, group.open)

    def _cap(self, sessions: int, nodes: int) -> int:
        if not nodes:
            return 0
        return max(LEAST_SESSIONS, -(-self.cap_percent * (sessions + 1) // (100 * nodes)))

    def _choose(self, wanted: Wanted, session_id: str, without: Collection[str]) -> _Node:
        group = self._groups.get(wanted.pool)
        if group is None or not group.open:
            raise NodeError(
                f"no node is ready that speaks {wanted.voice!r}: it wants the base "
                f"{wanted.pool.base_digest[:12]} in {wanted.pool.language!r}; start one"
            )
        barred = [
            self._nodes[node_id] for node_id in set(without) if self._is_open(node_id, wanted.pool)
        ]
        sessions = group.sessions - sum(node.sessions for node in barred)
        cap = self._cap(sessions, group.open - len(barred))

        def takes(node: _Node) -> bool:
            return node.takes(wanted.bundle, cap) and node.state.id not in without

        able = [*filter(takes, self._replicas(group, wanted))]
        if wanted.bundle in group.held:
            warm = (n for n in self._in_order(group, wanted.voice) if n.holds(wanted.bundle))
            able = (
                [node for node in able if node.holds(wanted.bundle)]
                or [*islice(filter(takes, warm), 1)]
                or able
            )
        if able:
            return min(able, key=_sessions)
        for node in filter(takes, self._in_order(group, wanted.key(session_id))):
            return node
        raise Busy(f"all nodes that could speak {wanted.voice!r} are taken; try again later")

    def _in_order(self, group: _Group, key: str) -> Iterator[_Node]:
        """The open nodes of a group, those that the key prefers first."""
        nodes = map(self._nodes.__getitem__, group.ring.preference(key))
        return (node for node in nodes if node.is_open)

    def _replicas(self, group: _Group, wanted: Wanted) -> list[_Node]:
        """The nodes that a bundle is spread over; none for a stock voice, which all can speak."""
        if wanted.bundle is None:
            return []
        if wanted.bundle not in group.spread:
            count = group.replicas.of(wanted.bundle)
            group.spread[wanted.bundle] = [*islice(self._in_order(group, wanted.voice), count)]
        return group.spread[wanted.bundle]

    def _node_of(self, session: _Session) -> _Node | None:
        """The node that has a session; None if that is gone, or was started again."""
        node = self._nodes.get(session.life[0])
        return node if node is not None and node.state.life == session.life else None

    def _is_open(self, node_id: str, pool: Pool) -> bool:
        node = self._nodes.get(node_id)
        return node is not None and node.is_open and node.state.pool == pool

    def _fresh(self, state: NodeState) -> _Node:
        """A node as it says it is."""
        is_open = state.phase is Phase.READY and state.life not in self._suspects
        speaking = Counter({b: count for b, count in state.load.resident.items() if count})
        return _Node(state, is_open, state.load.sessions, speaking)

    def _group(self, pool: Pool) -> _Group:
        """The pool's nodes, on a ring that is made out of the last one."""
        nodes = [node for node in self._nodes.values() if node.state.pool == pool]
        takes = [node for node in nodes if node.is_open]
        last = self._groups.get(pool, _Group(Ring(()), Replicas(self.clock)))
        ring = last.ring.with_nodes(node.state.id for node in nodes)
        demand = Counter[str]()
        for node in nodes:
            demand.update(node.speaking)
        last.replicas.observe(demand, len(takes))
        held = frozenset(bundle for node in takes for bundle in node.state.load.resident)
        sessions = sum(node.sessions for node in takes)
        return _Group(ring, last.replicas, len(takes), sessions, held=held)


def _sessions(node: _Node) -> int:
    return node.sessions


def _count(node: _Node, bundle: str | None, change: int) -> None:
    """A session more, or less, on a node."""
    node.sessions += change
    if bundle is not None:
        node.speaking[bundle] += change
        if not node.speaking[bundle]:
            del node.speaking[bundle]
