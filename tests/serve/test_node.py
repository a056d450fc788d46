"""A node above a scripted engine: which adapters are resident, and when a pointer moves."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from orpheus_clone.bundle import Adapter, Bundle
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import Delta, EngineInfo, Request
from orpheus_clone.errors import ArtifactError, Busy, EngineError, UnknownVoice
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.serve.node import Node
from orpheus_clone.speech import Speaker
from orpheus_clone.store import Store
from tests.bundles import made
from tests.eval.steady import FRAME

Maker = Callable[[str], Bundle]


class LoadingEngine:
    """Says two frames, and remembers what is loaded; an adapter in `broken` says nothing."""

    info = EngineInfo("fake", "CPU (none)", "fp32")

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.broken: set[str] = set()
        self.most = 0

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        if request.adapter is not None:
            assert voice_of(request.adapter) in self.loaded, "spoken before it was loaded"
            if voice_of(request.adapter) in self.broken:
                raise EngineError("the adapter does not fit")
        yield Delta(FRAME)
        yield Delta(FRAME, "length")

    async def load(self, adapter: Adapter) -> None:
        self.loaded.append(voice_of(adapter))
        self.most = max(self.most, len(self.loaded))

    async def unload(self, adapter: Adapter) -> None:
        self.loaded.remove(voice_of(adapter))

    def is_alive(self) -> bool:
        return True

    async def close(self) -> None: ...


def voice_of(adapter: Adapter) -> str:
    return adapter.name.partition("@")[0]


@pytest.fixture
def engine() -> LoadingEngine:
    return LoadingEngine()


@pytest.fixture
def node(engine: LoadingEngine, codec: Codec, base: BaseModel, tmp_path: Path) -> Node:
    return Node(Speaker(engine, codec, base), Store(tmp_path / "store"), 2, allows_unproven=True)


async def say(node: Node, voice: str) -> int:
    async with aclosing(node.speak("Hello.", node.find(voice))) as chunks:
        return sum([len(chunk.samples) async for chunk in chunks])


async def test_a_published_voice_is_resident_before_its_name_means_it(
    node: Node, engine: LoadingEngine, voice_bundle: Maker
) -> None:
    with pytest.raises(UnknownVoice):
        node.find("a")
    accepted = await node.accept(voice_bundle("a").path)
    assert engine.loaded == ["a"]
    assert node.store.current("a") == accepted.name
    assert await say(node, "a") == 4096
    assert engine.loaded == ["a"]


async def test_a_voice_that_does_not_speak_is_not_pointed_at(
    node: Node, engine: LoadingEngine, voice_bundle: Maker
) -> None:
    engine.broken = {"a"}
    with pytest.raises(EngineError, match="does not fit"):
        await node.accept(voice_bundle("a").path)
    assert node.store.current("a") is None


async def test_the_voice_that_was_idle_longest_makes_room(
    node: Node, engine: LoadingEngine, voice_bundle: Maker
) -> None:
    for voice in "abc":
        await node.accept(voice_bundle(voice).path)
    assert engine.loaded == ["b", "c"]
    await say(node, "b")
    await say(node, "a")
    assert engine.loaded == ["b", "a"]
    assert engine.most == 2


async def test_a_voice_that_speaks_is_not_sent_away(
    node: Node, engine: LoadingEngine, voice_bundle: Maker
) -> None:
    for voice in "abc":
        await node.accept(voice_bundle(voice).path)
    async with aclosing(node.speak("Hello.", node.find("b"))) as b:
        await anext(b)
        await say(node, "a")
        assert engine.loaded == ["b", "a"]
        async with aclosing(node.speak("Hello.", node.find("a"))) as a:
            await anext(a)
            with pytest.raises(Busy, match="all 2 adapter slots are speaking"):
                await say(node, "c")
            assert await say(node, "ada") == 4096  # a stock voice needs no slot
        assert await say(node, "c") == 4096
    assert engine.loaded == ["b", "c"]


async def test_two_sessions_of_one_voice_load_it_once(
    node: Node, engine: LoadingEngine, voice_bundle: Maker
) -> None:
    for voice in "abc":
        await node.accept(voice_bundle(voice).path)
    assert list(await asyncio.gather(say(node, "a"), say(node, "a"))) == [4096, 4096]
    assert engine.loaded.count("a") == 1


async def test_a_rollback_to_a_voice_that_does_not_speak_changes_nothing(
    node: Node, engine: LoadingEngine, voice_bundle: Maker
) -> None:
    first = voice_bundle("a")
    await node.accept(first.path)
    node.store.point("a", "a@000000000000")
    engine.broken = {"a"}
    with pytest.raises(EngineError):
        await node.rollback("a")
    assert node.store.current("a") == "a@000000000000"
    engine.broken = set()
    assert await node.rollback("a") == first.name


async def test_a_rollback_to_a_voice_of_another_base_changes_nothing(
    node: Node, voice_bundle: Maker, run_dir: RunDir, tmp_path: Path
) -> None:
    foreign = node.store.add(made(run_dir, tmp_path / "foreign", "a", base_digest="0" * 64))
    node.store.point("a", foreign.name)
    current = await node.accept(voice_bundle("a").path)
    with pytest.raises(ArtifactError, match="was trained on"):
        await node.rollback("a")
    assert node.store.current("a") == current.name


async def test_a_bundle_that_was_altered_in_the_store_is_listed_but_not_spoken(
    node: Node, voice_bundle: Maker
) -> None:
    stored = node.store.add(voice_bundle("a"))
    node.store.point("a", stored.name)
    (stored.path / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ArtifactError, match="publish again"):
        node.find("a")
    # Published again, it is mended.
    await node.accept(voice_bundle("a").path)
    assert await say(node, "a") == 4096
