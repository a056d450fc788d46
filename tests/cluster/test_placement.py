"""Placement: who speaks a session, whatever comes and goes."""

from collections import Counter
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orpheus_clone.cluster.placement import BEATS_UNTIL_REPORTED, Placement, Wanted
from orpheus_clone.cluster.ring import Ring
from orpheus_clone.cluster.state import Load, NodeState, Phase, Pool
from orpheus_clone.errors import Busy, NodeError
from tests.cluster.conftest import POOL, node

GERMAN = Pool("base-a", "de")
JACK = Wanted("jack", POOL, "jack@1")
EIGHT = [node(f"node-{i}", load=Load(10, 100)) for i in range(8)]
"""Of which each may have two sessions more: ceil(1.1 x 81 / 8) = 12."""
ORDER = list(Ring(n.id for n in EIGHT).preference("jack"))


def seeing(*nodes: NodeState, now: float = 0.0) -> Placement:
    placement = Placement(clock=lambda: now)
    placement.see(nodes)
    return placement


def with_load(state: NodeState, sessions: int, slots: int = 100, **resident: int) -> NodeState:
    bundles = {f"{name}@1": speaking for name, speaking in resident.items()}
    return replace(state, load=Load(sessions, slots, bundles))


def changed(*changes: NodeState) -> list[NodeState]:
    """The eight nodes, some of them otherwise."""
    return list(({n.id: n for n in EIGHT} | {n.id: n for n in changes}).values())


def by_id(node_id: str) -> NodeState:
    return next(n for n in EIGHT if n.id == node_id)


def test_a_session_goes_to_the_first_node_of_the_voices_preference() -> None:
    placement = seeing(*EIGHT)
    assert placement.place(JACK, "s").id == ORDER[0]
    assert [n.id for n in placement.preference(JACK)] == ORDER


@pytest.mark.parametrize("phase", [p for p in Phase if p is not Phase.READY])
def test_a_node_that_is_not_ready_is_passed_over(phase: Phase) -> None:
    placement = seeing(*changed(replace(by_id(ORDER[0]), phase=phase)))
    assert placement.place(JACK, "s").id == ORDER[1]
    assert [n.id for n in placement.preference(JACK)] == ORDER[1:]


@pytest.mark.parametrize("other", [GERMAN, Pool("base-b", "en")])
def test_a_node_of_another_base_or_language_is_passed_over(other: Pool) -> None:
    placement = seeing(*changed(replace(by_id(ORDER[0]), pool=other)))
    assert placement.place(JACK, "s").id == ORDER[1]
    assert placement.place(replace(JACK, pool=other), "t").id == ORDER[0]


def test_a_node_at_the_cap_is_passed_over_and_one_below_it_is_not() -> None:
    # 80 sessions in all: the 81st may be the twelfth of a node: ceil(1.1 x 81 / 8) = 12.
    def first_with(sessions: int) -> str:
        rest = [with_load(by_id(name), (80 - sessions) // 7) for name in ORDER[1:]]
        rest[-1] = with_load(by_id(ORDER[-1]), 80 - sessions - 6 * ((80 - sessions) // 7))
        placement = seeing(with_load(by_id(ORDER[0]), sessions), *rest)
        assert placement.cap(POOL) == 12
        return placement.place(JACK, "s").id

    assert first_with(11) == ORDER[0]
    assert first_with(12) == ORDER[1]


def test_the_cap_is_exact_where_floating_point_is_not() -> None:
    # 1.1 x 10 is 11.000000000000002, whose ceiling is 12.
    assert seeing(with_load(node("one"), 9)).cap(POOL) == 11


def test_who_has_no_slot_left_takes_only_the_voices_that_it_speaks() -> None:
    owner = by_id(ORDER[0])
    full = with_load(owner, 10, slots=2, ada=5, eva=5)
    assert seeing(*changed(full)).place(JACK, "s").id == ORDER[1]
    speaks_it = with_load(owner, 10, slots=2, ada=5, jack=5)
    assert seeing(*changed(speaks_it)).place(JACK, "s").id == ORDER[0]
    idle_makes_room = with_load(owner, 10, slots=2, ada=10, eva=0)
    assert seeing(*changed(idle_makes_room)).place(JACK, "s").id == ORDER[0]


def test_until_the_owner_holds_a_voice_who_holds_it_goes_on_and_nobody_waits() -> None:
    before = with_load(by_id(ORDER[3]), 10, jack=1)
    assert seeing(*changed(before)).place(JACK, "s").id == ORDER[3]
    owner = with_load(by_id(ORDER[0]), 10, jack=0)
    assert seeing(*changed(before, owner)).place(JACK, "s").id == ORDER[0]


@pytest.mark.parametrize("sessions", [12, 11])
def test_who_holds_a_voice_and_can_take_no_more_leaves_it_to_who_does_not(sessions: int) -> None:
    at_cap = with_load(by_id(ORDER[3]), sessions, jack=1)
    takes = ORDER[0] if sessions == 12 else ORDER[3]
    assert seeing(*changed(at_cap)).place(JACK, "s").id == takes
    draining = replace(at_cap, phase=Phase.DRAINING)
    assert seeing(*changed(draining)).place(JACK, "s").id == ORDER[0]


def test_where_the_owner_can_take_none_and_nobody_holds_it_the_next_does() -> None:
    full = with_load(by_id(ORDER[0]), 12)
    holder = with_load(by_id(ORDER[3]), 12, jack=1)
    assert seeing(*changed(full, holder)).place(JACK, "s").id == ORDER[1]


def test_a_slot_is_free_again_when_the_last_session_of_its_voice_ends() -> None:
    placement = seeing(with_load(node("one"), 0, slots=1))
    eva = Wanted("eva", POOL, "eva@1")
    placement.place(JACK, "s")
    placement.place(JACK, "t")
    placement.end("s")
    with pytest.raises(Busy):
        placement.place(eva, "u")
    placement.end("t")
    assert placement.place(eva, "u").id == "one"


def test_a_stock_voice_needs_no_slot_and_its_sessions_are_spread() -> None:
    placement = seeing(*(with_load(n, 100, slots=0) for n in EIGHT))
    stock = Wanted("tara", POOL)
    assert len({placement.place(stock, str(i)).id for i in range(8)}) > 4
    with pytest.raises(Busy, match="all nodes that could speak 'jack' are taken; try again"):
        placement.place(JACK, "s")


def test_where_nobody_of_the_pool_is_ready_the_error_says_what_is_wanted() -> None:
    nobody = "no node is ready that speaks 'jack': it wants the base base-a in 'en'; start one"
    for nodes in ([], [node("one", Phase.DRAINING)], [node("one", pool=GERMAN)]):
        with pytest.raises(NodeError, match=nobody):
            seeing(*nodes).place(JACK, "s")


def test_a_session_stays_where_it_is_while_its_node_drains_is_over_the_cap_or_suspected() -> None:
    placement = seeing(*EIGHT)
    placement.place(JACK, "s")
    for change in (
        replace(by_id(ORDER[0]), phase=Phase.DRAINING),
        with_load(by_id(ORDER[0]), 1000),
    ):
        placement.see(changed(change))
        assert placement.place(JACK, "s").id == ORDER[0]
        assert placement.place(JACK, "another").id == ORDER[1]
        placement.end("another")
    placement.suspect(ORDER[0])
    assert placement.place(JACK, "s").id == ORDER[0]


def test_a_session_whose_node_is_gone_is_placed_anew_and_stays_there_when_it_comes_back() -> None:
    placement = seeing(*EIGHT)
    placement.place(JACK, "s")
    placement.see(n for n in EIGHT if n.id != ORDER[0])
    assert placement.place(JACK, "s").id == ORDER[1]
    placement.see(EIGHT)
    assert placement.place(JACK, "s").id == ORDER[1]
    assert placement.place(JACK, "another").id == ORDER[0]


def test_a_node_that_was_started_again_has_none_of_its_sessions_and_is_not_suspected() -> None:
    placement = seeing(*changed(replace(by_id(ORDER[0]), beat=50)))
    placement.place(JACK, "s")
    placement.place(JACK, "t")
    placement.suspect(ORDER[0])
    again = replace(with_load(by_id(ORDER[0]), 0), beat=1, incarnation="second")
    placement.see(changed(again))
    assert placement.cap(POOL) == 10  # ceil(1.1 x 71 / 8)
    assert placement.place(JACK, "u").id == ORDER[0]
    assert placement.place(JACK, "s").incarnation == "second"
    placement.end("t")
    assert placement.cap(POOL) == 11  # ceil(1.1 x 73 / 8)


def test_a_session_that_was_refused_goes_to_the_next_and_the_cap_is_of_those_that_are_left() -> (
    None
):
    placement = seeing(*EIGHT)
    placement.place(JACK, "s")
    assert placement.place(JACK, "s", without={ORDER[0]}).id == ORDER[1]
    assert placement.place(JACK, "s").id == ORDER[1]
    placement.end("s")
    two = seeing(with_load(node("a"), 8), with_load(node("b"), 11))
    assert two.place(JACK, "s", without={"a"}).id == "b"
    with pytest.raises(Busy):
        two.place(JACK, "t", without={"a", "b"})
    # Of b and c the cap is ceil(1.1 x 25 / 2) = 14; jack would like c.
    three = seeing(*(with_load(node(name), n) for name, n in (("a", 99), ("b", 10), ("c", 14))))
    assert three.place(JACK, "s", without={"a"}).id == "b"
    with pytest.raises(Busy):
        seeing(node("a")).place(JACK, "s", without=["a", "a", "unknown"])


def test_a_node_that_broke_a_connection_gets_no_more_until_it_has_said_twice_that_it_lives() -> (
    None
):
    placement = seeing(*EIGHT)
    assert placement.place(JACK, "r").id == ORDER[0]
    placement.suspect(ORDER[0])
    placement.suspect("unknown")
    assert placement.cap(POOL) == 12  # ceil(1.1 x 71 / 7): its eleven count no more
    assert placement.place(JACK, "s").id == ORDER[1]
    owner = by_id(ORDER[0])
    placement.see(changed(replace(owner, beat=1)))
    assert placement.place(JACK, "t").id == ORDER[1]
    placement.see(changed(replace(owner, beat=2)))
    assert placement.place(JACK, "u").id == ORDER[0]


def test_a_session_is_counted_until_its_node_has_surely_reported_it() -> None:
    assert BEATS_UNTIL_REPORTED == 2
    one = node("one", load=Load(10, 8))
    placement = seeing(one)
    placement.place(JACK, "s")
    caps = [placement.cap(POOL)]
    for beat, reported in ((0, 10), (1, 10), (3, 11), (2, 11)):
        placement.see([replace(one, beat=beat, load=Load(reported, 8))])
        caps.append(placement.cap(POOL))
    assert caps == [14] * 5
    placement.end("s")
    assert placement.cap(POOL) == 14  # it is the node's now to take back
    placement.see([replace(one, beat=4, load=Load(10, 8))])
    assert placement.cap(POOL) == 13


def test_a_session_that_ends_is_counted_no_more_and_may_end_twice() -> None:
    placement = seeing(node("one", load=Load(10, 8)))
    placement.place(JACK, "s")
    assert placement.cap(POOL) == 14
    placement.end("s")
    placement.end("s")
    placement.end("never was")
    assert placement.cap(POOL) == 13


def test_few_sessions_are_not_worth_a_second_node() -> None:
    placement = seeing(*(node(f"node-{i}") for i in range(8)))
    assert [placement.place(JACK, f"s{i}").id for i in range(4)] == [ORDER[0]] * 4
    assert placement.place(JACK, "s4").id == ORDER[1]


def test_both_sides_of_a_canary_are_spoken_by_the_same_node() -> None:
    placement = seeing(*EIGHT)
    assert placement.place(JACK, "s").id == ORDER[0]
    assert placement.place(replace(JACK, bundle="jack@2"), "t").id == ORDER[0]


def test_a_popular_voice_is_spread_over_its_replicas_and_others_stay_whole() -> None:
    now = 0.0
    placement = Placement(clock=lambda: now)
    spoken: dict[str, set[str]] = {}
    for i in range(400):
        now += 1.0
        placement.see(EIGHT)
        for voice in ("jack", f"voice-{i % 40}"):
            where = placement.place(Wanted(voice, POOL, f"{voice}@1"), f"{voice} {i}").id
            if i > 200:
                spoken.setdefault(voice, set()).add(where)
    assert [n.id for n in placement.holders(JACK)] == ORDER  # half of all sessions
    assert spoken.pop("jack") == set(ORDER)
    assert sum(map(len, spoken.values())) <= 44
    assert len(placement.holders(Wanted("voice-1", POOL, "voice-1@1"))) == 1
    assert placement.holders(Wanted("tara", POOL)) == []
    assert placement.holders(replace(JACK, pool=GERMAN)) == []


@settings(deadline=None, max_examples=25)
@given(
    voices=st.lists(st.integers(0, 30), min_size=1, max_size=150),
    nodes=st.integers(2, 9),
)
def test_a_join_and_a_leave_move_no_session_that_need_not(voices: list[int], nodes: int) -> None:
    there = [node(f"node-{i}") for i in range(nodes)]
    placement = seeing(*there)
    wanted = {str(s): Wanted(f"v{v}", POOL, f"v{v}@1") for s, v in enumerate(voices)}
    before = {s: placement.place(want, s).id for s, want in wanted.items()}
    placement.see([*there, node("joiner")])
    assert {s: placement.place(want, s).id for s, want in wanted.items()} == before
    placement.see([*there[1:], node("joiner")])
    after = {s: placement.place(want, s).id for s, want in wanted.items()}
    assert {s for s in before if after[s] != before[s]} == {
        s for s, where in before.items() if where == "node-0"
    }


class Fleet(RuleBasedStateMachine):
    """Nodes of two pools that come, go and drain, and sessions that come and end.

    What nodes have to do is reported late or not at all; the placement must count for itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.placement = Placement(clock=lambda: 0.0)
        self.nodes: dict[str, NodeState] = {}
        self.where: dict[str, tuple[Wanted, str]] = {}
        self.names = count()

    def look(self) -> None:
        self.placement.see(self.nodes.values())

    def loads(self) -> Counter[str]:
        return Counter(where for _, where in self.where.values())

    @rule(pool=st.sampled_from([POOL, GERMAN]), slots=st.integers(1, 4))
    def join(self, pool: Pool, slots: int) -> None:
        name = f"node-{next(self.names)}"
        self.nodes[name] = node(name, pool=pool, load=Load(slots=slots))
        self.look()

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.nodes)))
        self.nodes[name] = replace(self.nodes[name], phase=Phase.DRAINING)
        self.look()

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def suspect(self, data: st.DataObject) -> None:
        self.placement.suspect(data.draw(st.sampled_from(sorted(self.nodes))))

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(sorted(self.nodes)))
        del self.nodes[gone]
        self.look()
        for session, (wanted, where) in list(self.where.items()):
            if where == gone:
                del self.where[session]
                self.try_to_place(wanted, session)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        """Two heartbeats of a node, after which it has surely said all that it does."""
        self.say_all(data.draw(st.sampled_from(sorted(self.nodes))))

    @rule(
        voice=st.integers(0, 6),
        pool=st.sampled_from([POOL, POOL, GERMAN]),
        is_stock=st.booleans(),
        sessions=st.integers(1, 4),
    )
    def start(self, voice: int, pool: Pool, is_stock: bool, sessions: int) -> None:
        wanted = Wanted(f"v{voice}", pool, None if is_stock else f"v{voice}@1")
        for _ in range(sessions):
            self.try_to_place(wanted, f"session-{next(self.names)}")

    @precondition(lambda self: self.where)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(sorted(self.where)))
        _, where = self.where.pop(session)
        self.placement.end(session)
        self.say_all(where)  # what a node has reported is its own to take back

    def say_all(self, name: str) -> None:
        speaking = Counter(wanted.bundle for wanted, at in self.where.values() if at == name)
        there = self.nodes[name]
        kept = dict.fromkeys(there.load.resident, 0)
        resident = kept | {bundle: n for bundle, n in speaking.items() if bundle is not None}
        load = Load(speaking.total(), there.load.slots, resident)
        self.nodes[name] = replace(there, beat=there.beat + 2, load=load)
        self.look()

    def try_to_place(self, wanted: Wanted, session: str) -> None:
        cap = self.placement.cap(wanted.pool)
        ready = self.placement.preference(wanted)
        loads = self.loads()
        try:
            found = self.placement.place(wanted, session)
        except NodeError:
            assert not ready
            return
        except Busy:
            assert ready
            assert wanted.bundle is not None, "without slots somebody is always below the cap"
            return
        assert found in ready
        assert found.phase is Phase.READY
        assert found.pool == wanted.pool
        assert loads[found.id] < cap
        share = -(-110 * (sum(loads[n.id] for n in ready) + 1) // (100 * len(ready)))
        assert cap == max(4, share)
        self.where[session] = (wanted, found.id)
        speaking = {w.bundle for w, at in self.where.values() if at == found.id} - {None}
        assert len(speaking) <= found.load.slots

    @invariant()
    def no_live_session_moves(self) -> None:
        for session, (wanted, where) in self.where.items():
            assert self.placement.place(wanted, session).id == where


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
