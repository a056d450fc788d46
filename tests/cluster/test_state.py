"""What a node says of itself, across versions, and the life that it may lead."""

import json
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus_clone import __version__
from orpheus_clone.cluster.state import Load, NodeState, Phase, Pool, next_phase

POOL = Pool("base-a", "en")
ESSENTIAL = {"id": "one", "url": "http://one", "pool": {"base_digest": "base-a", "language": "en"}}

counts = st.integers(0, 2**31)
loads = st.builds(Load, counts, counts, st.dictionaries(st.text(), counts, max_size=4))
states = st.builds(
    NodeState,
    id=st.text(),
    url=st.text(),
    pool=st.builds(Pool, st.text(), st.text()),
    incarnation=st.text(),
    phase=st.sampled_from(Phase),
    beat=counts,
    load=loads,
    version=st.text(),
)


@settings(max_examples=50)
@given(states)
def test_what_is_written_is_read_again(state: NodeState) -> None:
    assert NodeState.from_json(state.to_json()) == state


def test_the_json_is_an_object_that_a_person_can_read() -> None:
    load = Load(2, 8, {"jack@1": 2})
    state = NodeState("one", "http://one", POOL, "x", Phase.READY, 3, load, voices=("ada",))
    assert json.loads(state.to_json()) == ESSENTIAL | {
        "incarnation": "x",
        "phase": "ready",
        "beat": 3,
        "load": {"sessions": 2, "slots": 8, "resident": {"jack@1": 2}},
        "version": __version__,
        "voices": ["ada"],
    }


def test_what_a_newer_version_adds_is_ignored_and_what_an_older_one_lacks_has_its_default() -> None:
    newer = ESSENTIAL | {"zone": "eu", "load": {"sessions": 4, "watts": 300}}
    newer["pool"] = {"base_digest": "base-a", "language": "en", "precision": "fp8"}
    assert NodeState.from_json(json.dumps(newer)) == NodeState(
        "one", "http://one", POOL, load=Load(sessions=4)
    )
    assert NodeState.from_json(json.dumps(ESSENTIAL)) == NodeState("one", "http://one", POOL)


def test_a_phase_that_only_a_newer_version_has_is_not_ready() -> None:
    newer = json.dumps(ESSENTIAL | {"phase": "hibernating"})
    assert NodeState.from_json(newer).phase is Phase.WARMING


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", "3", '{"id": "one", "url": "http://one"}', '{"name": "one"}']
)
def test_what_is_no_nodes_state_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="NodeState"):
        NodeState.from_json(text)


def test_a_nodes_life_goes_one_way() -> None:
    life = [Phase.JOINING, Phase.WARMING, Phase.READY, Phase.DRAINING, Phase.LEFT]
    allowed = {*pairwise(life), (Phase.WARMING, Phase.DRAINING)}
    allowed |= {(phase, Phase.LEFT) for phase in life[:-1]}
    for now, then in product(Phase, Phase):
        if (now, then) in allowed:
            assert next_phase(now, then) is then
        else:
            with pytest.raises(ValueError, match=f"that is {now} cannot be {then}"):
                next_phase(now, then)
