"""A node above a scripted engine: which adapters are resident, and when a pointer moves."""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from orpheus_clone import bundle
from orpheus_clone.bundle import Adapter, Bundle
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import Delta, EngineInfo, Request
from orpheus_clone.errors import (
    ArtifactError,
    Busy,
    EngineError,
    MachineError,
    StoreError,
    UnknownVoice,
)
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.script import Script
from orpheus_clone.serve.node import Found, Node
from orpheus_clone.speech import Chunk, Speaker
from orpheus_clone.store import Store, open_store
from orpheus_clone.store.directory import DirectoryObjects
from orpheus_clone.store.objects import Stored
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
    return Node(
        Speaker(engine, codec, base), open_store(tmp_path / "store"), 2, allows_unproven=True
    )


def point(node: Node, voice: str, name: str) -> None:
    """Let a name mean a bundle that nobody has tried."""
    seen = node.store.see(voice)
    node.store.move(seen, "publish", seen.pointer.published(name))


async def find(node: Node, name: str, session: str = "") -> Found:
    """Who speaks as `name` in a session, as `placed` asks for it."""
    if name in node.speaker.base.voices:
        return await node.open(name, None, "current")
    meant = await node.ask(node.meant, name, session)
    return await node.open(name, meant.bundle, meant.arm)


async def hello(node: Node, voice: str) -> AsyncGenerator[Chunk, None]:
    return node.speak(Script.of("Hello."), (await find(node, voice)).voice)


async def say(node: Node, voice: str) -> int:
    async with aclosing(await hello(node, voice)) as chunks:
        return sum([len(chunk.samples) async for chunk in chunks])


async def test_a_published_voice_is_resident_before_its_name_means_it(
    node: Node, engine: LoadingEngine, voice_bundle: Maker
) -> None:
    with pytest.raises(UnknownVoice):
        await find(node, "a")
    accepted = await node.accept(voice_bundle("a").path)
    assert engine.loaded == ["a"]
    assert node.store.pointer("a").current == accepted.name
    assert await say(node, "a") == 4096
    assert engine.loaded == ["a"]


async def test_a_voice_that_does_not_speak_is_not_pointed_at(
    node: Node, engine: LoadingEngine, voice_bundle: Maker
) -> None:
    engine.broken = {"a"}
    with pytest.raises(EngineError, match="does not fit"):
        await node.accept(voice_bundle("a").path)
    assert node.store.pointer("a").current is None


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
    async with aclosing(await hello(node, "b")) as b:
        await anext(b)
        await say(node, "a")
        assert engine.loaded == ["b", "a"]
        async with aclosing(await hello(node, "a")) as a:
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
    point(node, "a", "a@000000000000")
    engine.broken = {"a"}
    with pytest.raises(EngineError):
        await node.move("a", "rollback")
    assert node.store.pointer("a").current == "a@000000000000"
    engine.broken = set()
    assert await node.move("a", "rollback") == first.name


async def test_a_rollback_to_a_voice_of_another_base_changes_nothing(
    node: Node, voice_bundle: Maker, run_dir: RunDir, tmp_path: Path
) -> None:
    foreign = node.store.add(made(run_dir, tmp_path / "foreign", "a", base_digest="0" * 64))
    point(node, "a", foreign.name)
    current = await node.accept(voice_bundle("a").path)
    with pytest.raises(ArtifactError, match="was trained on"):
        await node.move("a", "rollback")
    assert node.store.pointer("a").current == current.name


async def test_a_bundle_that_was_altered_in_the_store_is_listed_but_not_spoken(
    node: Node, voice_bundle: Maker
) -> None:
    stored = node.store.add(voice_bundle("a"))
    point(node, "a", stored.name)
    (stored.path / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ArtifactError, match="publish again"):
        await find(node, "a")
    # Published again, it is mended.
    await node.accept(voice_bundle("a").path)
    assert await say(node, "a") == 4096


async def canaried(node: Node, run: RunDir, folder: Path, share: float) -> tuple[str, str]:
    """Voice `a` published twice, the second time as a canary; both bundles' names."""
    first = await node.accept(made(run, folder, "a").path)
    second = made(run, folder, "a", override_reason="newer")
    return first.name, (await node.accept(second.path, share)).name


async def test_a_canary_speaks_in_its_share_of_the_sessions_and_stays_in_each(
    node: Node, run_dir: RunDir, tmp_path: Path
) -> None:
    first, second = await canaried(node, run_dir, tmp_path / "made", 0.5)
    found = {str(i): await find(node, "a", str(i)) for i in range(100)}
    arms = {each.arm: each.bundle for each in found.values()}
    assert arms == {"current": first, "canary": second}
    assert {session: await find(node, "a", session) for session in found} == found
    assert await node.move("a", "promote") == second
    assert {(await find(node, "a", session)).bundle for session in found} == {second}


async def test_a_rollback_ends_the_canary_at_once(
    node: Node, run_dir: RunDir, tmp_path: Path
) -> None:
    first, second = await canaried(node, run_dir, tmp_path / "made", 1.0)
    assert (await find(node, "a", "s")).bundle == second
    assert await node.move("a", "rollback", "jane", "it hisses") == first
    assert (await find(node, "a", "s")).bundle == first
    assert node.store.see("a").moves[-1].why == "it hisses"


async def test_a_canary_that_cannot_be_read_leaves_its_sessions_to_the_current_bundle(
    node: Node, run_dir: RunDir, tmp_path: Path
) -> None:
    first = await node.accept(made(run_dir, tmp_path / "made", "a").path)
    seen = node.store.see("a")
    node.store.move(seen, "canary", seen.pointer.with_canary("a@000000000000", 1.0))
    found = await find(node, "a", "s")
    assert (found.bundle, found.arm) == (first.name, "current")


async def test_a_canary_that_the_engine_cannot_load_leaves_its_sessions_to_the_current_bundle(
    node: Node, engine: LoadingEngine, run_dir: RunDir, tmp_path: Path
) -> None:
    first, second = await canaried(node, run_dir, tmp_path / "made", 1.0)
    load, refused = engine.load, second

    async def choosy(adapter: Adapter) -> None:
        if adapter.name == refused:
            raise EngineError("no room for it")
        await load(adapter)

    assert (await find(node, "a", "s")).bundle == second
    engine.load = choosy  # type: ignore[method-assign]
    for voice in "bc":  # both slots are taken, so that it must be loaded anew
        await node.accept(made(run_dir, tmp_path / "made", voice).path)
    found = await find(node, "a", "s")
    assert (found.bundle, found.arm) == (first, "current")


class Far:
    """A store that is far away, which may fail to hand out a bundle; reads are counted."""

    place = "s3://far"
    root = None

    def __init__(self, root: Path) -> None:
        self._files = DirectoryObjects(root)
        self.make, self.add = self._files.make, self._files.add
        self.swap, self.names, self.remove = (
            self._files.swap,
            self._files.names,
            self._files.remove,
        )
        self.broken: dict[str, Exception] = {}
        self.reads: Counter[str] = Counter()

    def read(self, key: str, most: int) -> Stored | None:
        self.reads[key] += 1
        if error := self.broken.get(key.split("/")[1]):
            raise error
        return self._files.read(key, most)


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Far:
    monkeypatch.setenv("ORPHEUS_CLONE_CACHE", str(tmp_path / "cache"))
    return Far(tmp_path / "far")


def on(far: Far, node: Node) -> Node:
    """Another node, above a store that is far away."""
    return Node(node.speaker, Store(far), 2, allows_unproven=True)


@pytest.mark.parametrize("error", [StoreError("nobody answers"), MachineError("disk full")])
async def test_a_canary_that_cannot_be_fetched_leaves_its_sessions_to_the_current_bundle(
    node: Node, far: Far, run_dir: RunDir, tmp_path: Path, error: Exception
) -> None:
    first, second = await canaried(on(far, node), run_dir, tmp_path / "made", 1.0)
    shutil.rmtree(tmp_path / "cache")
    far.broken[second] = error
    assert (await find(on(far, node), "a", "s")).bundle == first


async def test_sessions_that_ask_for_a_cold_voice_at_once_fetch_it_once(
    node: Node, far: Far, voice_bundle: Maker, tmp_path: Path
) -> None:
    name = (await on(far, node).accept(voice_bundle("a").path)).name
    shutil.rmtree(tmp_path / "cache")
    far.reads.clear()
    cold = on(far, node)
    found = await asyncio.gather(*[find(cold, "a", str(i)) for i in range(8)])
    assert {each.bundle for each in found} == {name}
    reads = {file: far.reads[f"bundles/{name}/{file}"] for file in bundle.FILES}
    assert reads == dict.fromkeys(bundle.FILES, 1) | {bundle.VOICE_FILE: 2}


@pytest.mark.parametrize("is_asked", [True, False], ids=["asked", "started"])
async def test_a_voice_that_was_forgotten_elsewhere_leaves_no_copy_here(
    node: Node, far: Far, voice_bundle: Maker, is_asked: bool
) -> None:
    here = on(far, node)
    kept = (await here.accept(voice_bundle("a").path)).path
    other = (await here.accept(voice_bundle("b").path)).path
    seen = here.store.see("a")
    here.store.move(seen, "unpublish", seen.pointer.unpublished())
    assert kept.exists()
    if is_asked:
        with pytest.raises(UnknownVoice):
            await find(on(far, node), "a")
    else:
        on(far, node).tidy()
    assert (kept.exists(), other.exists()) == (False, True)


@pytest.mark.parametrize(
    ("error", "is_left"), [(ArtifactError("no log"), False), (StoreError("nobody answers"), True)]
)
async def test_a_log_that_cannot_be_read_keeps_no_copy_of_another_voice(
    node: Node, far: Far, voice_bundle: Maker, error: Exception, is_left: bool
) -> None:
    here = on(far, node)
    kept = [(await here.accept(voice_bundle(name).path)).path for name in ("a", "b")]
    seen = here.store.see("b")
    here.store.move(seen, "unpublish", seen.pointer.unpublished())
    far.broken["a.jsonl"] = error
    on(far, node).tidy()
    assert [path.exists() for path in kept] == [True, is_left]


async def test_a_voice_that_is_asked_for_while_it_is_first_published_keeps_its_copy(
    node: Node, far: Far, voice_bundle: Maker
) -> None:
    here, engine_says = on(far, node), node.speaker.engine.generate

    async def generate(request: Request) -> AsyncGenerator[Delta, None]:
        with pytest.raises(UnknownVoice):
            await find(here, "a")
        async for delta in engine_says(request):
            yield delta

    node.speaker.engine.generate = generate  # type: ignore[method-assign]
    assert (await here.accept(voice_bundle("a").path)).path.exists()


async def test_a_voice_that_was_unpublished_can_still_be_forgotten(
    node: Node, voice_bundle: Maker
) -> None:
    await node.accept(voice_bundle("a").path)
    await node.unpublish("a", forget=False)
    for _ in range(2):
        await node.unpublish("a", forget=True)
        assert node.store.bundles("a") == []
    with pytest.raises(UnknownVoice):
        await node.unpublish("a", forget=False)
    with pytest.raises(UnknownVoice):
        await node.unpublish("nobody", forget=True)


async def test_a_voice_that_is_forgotten_while_it_is_published_is_there_all_the_same(
    node: Node, voice_bundle: Maker
) -> None:
    engine_says = node.speaker.engine.generate

    async def generate(request: Request) -> AsyncGenerator[Delta, None]:
        node.store.objects.remove("bundles")
        async for delta in engine_says(request):
            yield delta

    node.speaker.engine.generate = generate  # type: ignore[method-assign]
    accepted = await node.accept(voice_bundle("a").path)
    assert node.store.read(accepted.name).name == accepted.name


async def test_a_promotion_of_a_canary_that_does_not_speak_changes_nothing(
    node: Node, engine: LoadingEngine, run_dir: RunDir, tmp_path: Path
) -> None:
    first, _ = await canaried(node, run_dir, tmp_path / "made", 0.0)
    engine.broken = {"a"}
    with pytest.raises(EngineError):
        await node.move("a", "promote")
    assert node.store.pointer("a").current == first


async def test_a_voice_that_was_published_meanwhile_is_not_published_over(
    node: Node, engine: LoadingEngine, voice_bundle: Maker, run_dir: RunDir, tmp_path: Path
) -> None:
    """Somebody else moves the pointer while the new bundle is made to speak."""
    await node.accept(voice_bundle("a").path)

    async def generate(request: Request) -> AsyncGenerator[Delta, None]:
        if node.store.pointer("a").current != "a@000000000000":
            point(node, "a", "a@000000000000")
        yield Delta(FRAME)
        yield Delta(FRAME, "length")

    engine.generate = generate  # type: ignore[method-assign]
    newer = made(run_dir, tmp_path / "newer", "a", override_reason="newer")
    with pytest.raises(Busy, match=r"voice 'a' was moved meanwhile by .*nothing was changed"):
        await node.accept(newer.path)
    assert node.store.pointer("a").current == "a@000000000000"


async def test_an_unpublished_voice_is_unknown_and_a_forgotten_one_is_deleted(
    node: Node, voice_bundle: Maker
) -> None:
    accepted = await node.accept(voice_bundle("a").path)
    await node.unpublish("a", forget=False)
    with pytest.raises(UnknownVoice):
        await find(node, "a")
    assert node.store.read(accepted.name).name == accepted.name
    await node.accept(voice_bundle("a").path)
    async with aclosing(await hello(node, "a")) as chunks:
        await anext(chunks)
        await node.unpublish("a", forget=True)
        assert sum([len(chunk.samples) async for chunk in chunks]) > 0, "it speaks to the end"
    with pytest.raises(ArtifactError):
        node.store.read(accepted.name)


async def test_a_full_disk_leaves_the_old_voice_speaking(
    engine: LoadingEngine,
    codec: Codec,
    base: BaseModel,
    run_dir: RunDir,
    tmp_path: Path,
    small_disk: Callable[[int], Path],
) -> None:
    old, new = (made(run_dir, tmp_path, "a", override_reason=why) for why in ("old", "new"))
    pages = sum(-(-path.stat().st_size // 4096) for path in old.path.iterdir())
    store = open_store(small_disk(4 * pages + 12))
    node = Node(Speaker(engine, codec, base), store, 2, allows_unproven=True)
    await node.accept(old.path)
    with pytest.raises(MachineError, match="No space left on device; free some space"):
        await node.accept(new.path)
    assert (await find(node, "a")).bundle == old.name
    assert await say(node, "a") == 4096
