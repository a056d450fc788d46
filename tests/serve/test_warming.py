"""A node holds what the fleet wants of it before anybody is sent there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orpheus_clone.bundle import Bundle
from orpheus_clone.cluster.membership import Membership
from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.cluster.placement import Wanted
from orpheus_clone.cluster.ring import Ring
from orpheus_clone.cluster.state import Load, NodeState, Pool
from orpheus_clone.codec.snac import Codec
from orpheus_clone.models import BaseModel
from orpheus_clone.serve.node import Node
from orpheus_clone.serve.warming import bring, wanted_here
from orpheus_clone.speech import Speaker
from orpheus_clone.store import open_store
from tests.serve.talking import Talker

Maker = Callable[[str], Bundle]
HERE, THERE = "here", "there"
MINE = next(v for v in map("v{}".format, range(99)) if Ring([HERE, THERE]).owner(v) == HERE)
THEIRS = next(v for v in map("v{}".format, range(99)) if Ring([HERE, THERE]).owner(v) == THERE)


@pytest.fixture
def node(codec: Codec, base: BaseModel, tmp_path: Path) -> Node:
    """Empty, with two slots."""
    speaker = Speaker(Talker(), codec, base)
    return Node(speaker, open_store(str(tmp_path / "store")), 2, allows_unproven=True)


async def fleet(node: Node, resident: dict[str, int]) -> Membership:
    """This node and another, which has these bundles in its engine."""
    pool, registry = Pool(node.speaker.base.digest, node.speaker.base.language), MemoryRegistry()
    load = Load(sum(resident.values()), 8, resident)
    await registry.heartbeat(NodeState(THERE, "http://there", pool, load=load))
    members = Membership(registry, NodeState(HERE, "http://here", pool), node.load)
    await members.join()
    await members.become_ready()
    return members


def stored(node: Node, made: Bundle) -> str:
    return node.store.add(made).name


async def test_a_voice_that_is_spoken_elsewhere_is_brought_to_its_owner_before_it_is_asked_for(
    node: Node, voice_bundle: Maker
) -> None:
    name = stored(node, voice_bundle(MINE))
    members = await fleet(node, {name: 1})
    wanted = Wanted(MINE, members.me.pool, name)
    assert members.placement.place(wanted, "before").id == THERE
    assert await bring(node, members, set()) == set()
    assert node.load().resident == {name: 0}
    await members.refresh()
    assert members.placement.place(wanted, "after").id == HERE
    assert members.placement.place(wanted, "before").id == THERE, "it stays where it speaks"
    await members.leave()


@pytest.mark.parametrize(("voice", "count"), [(MINE, 0), (THEIRS, 1)], ids=["idle", "not mine"])
async def test_what_nobody_speaks_and_what_is_anothers_is_left_there(
    node: Node, voice_bundle: Maker, voice: str, count: int
) -> None:
    name = stored(node, voice_bundle(voice))
    members = await fleet(node, {name: count})
    assert wanted_here(members) == set()
    await bring(node, members, set())
    assert node.load().resident == {}
    await members.leave()


async def test_what_cannot_be_brought_is_tried_once_for_as_long_as_it_is_wanted(
    node: Node, voice_bundle: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    missing = f"{MINE}@{'0' * 12}"
    members = await fleet(node, {missing: 1})
    failed = await bring(node, members, set())
    assert failed == {missing}
    assert f"{missing} is wanted here and cannot be brought" in caplog.text
    caplog.clear()
    assert await bring(node, members, failed) == {missing}
    assert caplog.text == ""
    assert await bring(node, await fleet(node, {}), failed) == set()
    await members.leave()
