"""The ring: golden owners, and what moves when a node comes or goes."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus_clone.cluster.ring import Ring, position

EIGHT = [f"node-{i}" for i in range(8)]
KEYS = [f"voice-{i}" for i in range(20_000)]
FEW_KEYS = KEYS[:400]

node_sets = st.sets(
    st.text("abcdefgh0123456789-.:/", min_size=1, max_size=12), min_size=1, max_size=6
)


def owners(ring: Ring, keys: list[str]) -> dict[str, str]:
    return {key: ring.preference(key)[0] for key in keys}


def test_positions_are_the_first_eight_bytes_of_blake2b() -> None:
    # printf jack | b2sum -l 64
    assert position("jack") == 0x2DC95D76F41982DD


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("jack", ["a", "b", "c"]),
        ("george", ["b", "a", "c"]),
        ("allison", ["c", "b", "a"]),
        ("tara", ["a", "b", "c"]),
        ("", ["a", "b", "c"]),
    ],
)
def test_owners_are_the_same_in_every_process_and_version(key: str, order: list[str]) -> None:
    assert Ring(["a", "b", "c"]).preference(key) == order


def test_the_order_in_which_nodes_are_named_does_not_matter() -> None:
    assert owners(Ring(EIGHT), FEW_KEYS) == owners(Ring(reversed(EIGHT)), FEW_KEYS)


@settings(deadline=None, max_examples=20)
@given(nodes=node_sets, key=st.text(max_size=20))
def test_a_preference_holds_every_node_once(nodes: set[str], key: str) -> None:
    order = Ring(nodes, virtual_nodes=16).preference(key)
    assert sorted(order) == sorted(nodes)


def test_an_empty_ring_prefers_nobody_and_a_ring_of_one_that_one() -> None:
    assert Ring([]).preference("jack") == []
    assert Ring(["a"]).preference("jack") == ["a"]


@settings(deadline=None, max_examples=20)
@given(nodes=node_sets.filter(lambda found: len(found) > 1), data=st.data())
def test_when_a_node_leaves_only_its_keys_move(nodes: set[str], data: st.DataObject) -> None:
    leaver = data.draw(st.sampled_from(sorted(nodes)))
    before, after = Ring(nodes), Ring(nodes - {leaver})
    for key in FEW_KEYS[:100]:
        order = before.preference(key)
        assert after.preference(key) == [node for node in order if node != leaver]


@settings(deadline=None, max_examples=10)
@given(nodes=node_sets, joiner=st.text("xyz", min_size=1, max_size=8))
def test_when_a_node_joins_keys_move_only_to_it(nodes: set[str], joiner: str) -> None:
    before, after = owners(Ring(nodes), FEW_KEYS), owners(Ring(nodes | {joiner}), FEW_KEYS)
    moved = {key for key in FEW_KEYS if before[key] != after[key]}
    assert {after[key] for key in moved} <= {joiner}
    share = len(moved) / len(FEW_KEYS)
    fair = 1 / (len(nodes) + 1)
    assert fair / 2 < share < 2 * fair


def test_eight_nodes_share_twenty_thousand_voices_evenly() -> None:
    counts = Counter(owners(Ring(EIGHT), KEYS).values())
    assert len(counts) == 8
    assert max(counts.values()) / (len(KEYS) / 8) <= 1.15
