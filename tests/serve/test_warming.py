"""A node holds what the fleet wants of it before anybody is sent there."""

import asyncio
from collections.abc import Callable, Collection
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
from orpheus_clone.serve.warming import LONGEST_WAIT_S, Warmer, wanted_here, warming
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


def pool(node: Node) -> Pool:
    return Pool(node.speaker.base.digest, node.speaker.base.language)


async def there(registry: MemoryRegistry, node: Node, resident: dict[str, int]) -> None:
    """What the other node says of itself."""
    load = Load(sum(resident.values()), 8, resident)
    await registry.heartbeat(NodeState(THERE, "http://there", pool(node), load=load))


async def fleet(
    node: Node, resident: dict[str, int], registry: MemoryRegistry | None = None
) -> Membership:
    """This node and another, which has these bundles in its engine."""
    registry = registry or MemoryRegistry()
    await there(registry, node, resident)
    members = Membership(registry, NodeState(HERE, "http://here", pool(node)), node.load)
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
    await Warmer(node, members).bring()
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
    await Warmer(node, members).bring()
    assert node.load().resident == {}
    await members.leave()


class Trying(Node):
    """Notes when it is to bring something."""

    now = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tries: list[float] = []

    async def warm(self, name: str, keep: Collection[str]) -> None:
        self.tries.append(self.now)
        await super().warm(name, keep)


async def test_what_cannot_be_brought_is_tried_again_later_each_time_and_said_once(
    node: Node, voice_bundle: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    trying, made = Trying(node.speaker, node.store, 2, allows_unproven=True), voice_bundle(MINE)
    members = await fleet(trying, {made.name: 1})
    warmer = Warmer(trying, members, lambda: trying.now)
    for second in range(200):
        trying.now = float(second)
        await warmer.bring()
    assert trying.tries == [0, 2, 6, 14, 30, 62, 122, 182]
    assert caplog.text.count(f"{made.name} is wanted here and cannot be brought yet") == 1
    stored(node, made)
    trying.now = 182 + LONGEST_WAIT_S
    await warmer.bring()
    assert trying.load().resident == {made.name: 0}
    await members.leave()


async def test_what_was_not_wanted_meanwhile_is_tried_at_once(
    node: Node, voice_bundle: Maker
) -> None:
    trying = Trying(node.speaker, node.store, 2, allows_unproven=True)
    registry, missing = MemoryRegistry(), voice_bundle(MINE).name
    members = await fleet(trying, {}, registry)
    warmer = Warmer(trying, members, lambda: trying.now)
    for resident in ({missing: 1}, {missing: 1}, {}, {missing: 1}):
        await there(registry, node, resident)
        await members.refresh()
        await warmer.bring()
    assert trying.tries == [0, 0]
    await members.leave()


async def test_a_bug_in_it_is_told_at_once_and_raised(
    node: Node, voice_bundle: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orpheus_clone.serve.warming.HEARTBEAT_SECONDS", 0.01)
    members = await fleet(node, {stored(node, voice_bundle(MINE)): 1})
    node.speaker = None  # type: ignore[assignment]  # as a bug would
    died = asyncio.Event()
    with pytest.raises(AttributeError):
        async with warming(node, members, died.set):
            await died.wait()
    await members.leave()
