"""The ring: golden owners, and what moves when a node comes or goes."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus_clone.cluster.ring import VIRTUAL_NODES, Ring, places, position

EIGHT = [f"node-{i}" for i in range(8)]
KEYS = [f"voice-{i}" for i in range(20_000)]
FEW_KEYS = KEYS[:400]

node_sets = st.sets(
    st.text("abcdefgh0123456789-.:/", min_size=1, max_size=12), min_size=1, max_size=6
)


def owners(ring: Ring, keys: list[str]) -> dict[str, str]:
    return {key: ring.owner(key) for key in keys}


def test_positions_are_the_first_eight_bytes_of_blake2b() -> None:
    # printf jack | b2sum -l 64
    assert position("jack") == 0x2DC95D76F41982DD


def test_the_places_of_a_node_are_eight_bytes_each_of_shake_128() -> None:
    # printf a | openssl dgst -shake128 -xoflen 24
    assert places("a", 3).tolist() == [
        0x0868090B3961162B,
        0x85C8DE88D28866BF,
        0xF82392F690D9E473,
    ]


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("jack", ["c", "a", "b"]),
        ("george", ["a", "b", "c"]),
        ("allison", ["c", "a", "b"]),
        ("tara", ["a", "b", "c"]),
        ("", ["a", "c", "b"]),
    ],
)
def test_owners_are_the_same_in_every_process_and_version(key: str, order: list[str]) -> None:
    ring = Ring(["a", "b", "c"])
    assert list(ring.preference(key)) == order
    assert ring.owner(key) == order[0]


def test_the_order_in_which_nodes_are_named_does_not_matter() -> None:
    assert owners(Ring(EIGHT), FEW_KEYS) == owners(Ring(reversed(EIGHT)), FEW_KEYS)


@settings(deadline=None, max_examples=20)
@given(nodes=node_sets, key=st.text(max_size=20))
def test_a_preference_holds_every_node_once_the_owner_first(nodes: set[str], key: str) -> None:
    ring = Ring(nodes, virtual_nodes=16)
    order = list(ring.preference(key))
    assert sorted(order) == sorted(nodes)
    assert order[0] == ring.owner(key)


def test_an_empty_ring_prefers_nobody_and_a_ring_of_one_that_one() -> None:
    assert list(Ring([]).preference("jack")) == []
    with pytest.raises(IndexError):
        Ring([]).owner("jack")
    assert list(Ring(["a"]).preference("jack")) == ["a"]


@pytest.mark.parametrize("count", [1, 3, 64])
def test_a_keys_owner_is_the_first_place_right_of_it_and_beyond_the_last_the_first(
    count: int,
) -> None:
    ring = Ring("abc", virtual_nodes=count)
    all_right = [[place > position(key) for place in ring.places.tolist()] for key in FEW_KEYS]
    assert count == 64 or not all(map(any, all_right)), "no key is beyond the last place"
    for key, right in zip(FEW_KEYS, all_right, strict=True):
        first = right.index(True) if any(right) else 0
        assert ring.owner(key) == ring.nodes[ring.owners[first]]


@settings(deadline=None, max_examples=40)
@given(before=node_sets | st.just(set[str]()), after=node_sets | st.just(set[str]()))
def test_a_ring_made_out_of_another_is_the_one_that_is_built_anew(
    before: set[str], after: set[str]
) -> None:
    made, built = Ring(before, 64).with_nodes(after), Ring(after, 64)
    assert made.nodes == built.nodes
    assert np.array_equal(made.places, built.places)
    assert np.array_equal(made.owners, built.owners)
    for key in FEW_KEYS[:20]:
        assert list(made.preference(key)) == list(built.preference(key))


def test_where_the_nodes_are_the_same_the_ring_is_too() -> None:
    ring = Ring(EIGHT)
    assert ring.with_nodes(reversed(EIGHT)) is ring


def test_two_nodes_in_one_place_stand_there_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    same = np.array([5, 2**63], np.uint64)
    monkeypatch.setattr("orpheus_clone.cluster.ring.places", lambda _node, _count: same)
    built = Ring(["a", "b"], 2)
    assert built.owners.tolist() == [0, 1, 0, 1]
    assert Ring(["b"], 2).with_nodes(["a", "b"]).owners.tolist() == [0, 1, 0, 1]


@settings(deadline=None, max_examples=20)
@given(nodes=node_sets.filter(lambda found: len(found) > 1), data=st.data())
def test_when_a_node_leaves_only_its_keys_move(nodes: set[str], data: st.DataObject) -> None:
    leaver = data.draw(st.sampled_from(sorted(nodes)))
    before = Ring(nodes)
    after = before.with_nodes(nodes - {leaver})
    for key in FEW_KEYS[:100]:
        order = before.preference(key)
        assert list(after.preference(key)) == [node for node in order if node != leaver]


@settings(deadline=None, max_examples=10)
@given(nodes=node_sets, joiner=st.text("xyz", min_size=1, max_size=8))
def test_when_a_node_joins_keys_move_only_to_it(nodes: set[str], joiner: str) -> None:
    ring = Ring(nodes)
    before, after = owners(ring, FEW_KEYS), owners(ring.with_nodes(nodes | {joiner}), FEW_KEYS)
    moved = {key for key in FEW_KEYS if before[key] != after[key]}
    assert {after[key] for key in moved} <= {joiner}
    share = len(moved) / len(FEW_KEYS)
    fair = 1 / (len(nodes) + 1)
    assert fair / 2 < share < 2 * fair


def test_eight_nodes_share_twenty_thousand_voices_evenly() -> None:
    counts = Counter(owners(Ring(EIGHT), KEYS).values())
    assert len(counts) == 8
    assert max(counts.values()) / (len(KEYS) / 8) <= 1.06


def test_the_places_of_a_hundred_nodes_are_all_there() -> None:
    ring = Ring(map(str, range(100)))
    assert np.bincount(ring.owners).tolist() == [VIRTUAL_NODES] * 100
    assert (ring.places[1:] > ring.places[:-1]).all()
