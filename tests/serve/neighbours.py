"""Nodes of one fleet in this process, and the network between them, which a test may break.

    client ─▶ node a ─▶ Network: passes on, is cut, or swallows ─▶ node b

The engine is `tests.fleet.telling`'s: whoever has the sound knows each word, and who said it.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio

from orpheus_clone.bench import voices
from orpheus_clone.cluster.membership import Membership
from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.cluster.registry import Registry
from orpheus_clone.cluster.ring import Ring
from orpheus_clone.cluster.state import NodeState, Pool
from orpheus_clone.engine.base import Delta, Request
from orpheus_clone.errors import EngineDead
from orpheus_clone.models import BaseModel
from orpheus_clone.serve.auth import Keys, NodeSecret
from orpheus_clone.serve.keys import Key
from orpheus_clone.serve.node import Node
from orpheus_clone.serve.run import answering, bind
from orpheus_clone.serve.service import Service
from orpheus_clone.speech import Speaker
from orpheus_clone.store import open_store
from tests.fleet.telling import Teller, TellingCodec, heard, number
from tests.serve.talking import eventually

SLOTS = 4
NAMES = ("a", "b", "c")
FIRST, SECOND = "alpha beta gamma delta epsilon.", "zeta eta theta iota kappa."
TEXT = f"{FIRST} {SECOND}"


def owned_by(*names: str, among: tuple[str, ...] = NAMES) -> str:
    """A voice whose order of preference begins with these nodes."""
    ring = Ring(among)
    every = (f"voice{i}" for i in range(1000))
    return next(v for v in every if [*ring.preference(v)][: len(names)] == [*names])


VOICE = owned_by("b", "c")


class Storyteller(Teller):
    """One that can be held before a frame, and that can die."""

    def __init__(self, base: BaseModel, name: str) -> None:
        super().__init__(base, SLOTS)
        self._node = name
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.lives = True
        self.dies_of: str | None = None
        """A text that is in the prompt."""
        self.breaks = False
        """It raises what a GPU's library does."""
        self.asked = self.open = self.made = 0

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        self.asked += 1
        self.open += 1
        try:
            if self.dies_of and self.dies_of in self._tokenizer.decode(request.prompt):
                self.lives = False
            async for delta in super().generate(request):
                await self.goes_on.wait()
                if self.breaks:
                    raise RuntimeError("CUDA error")
                if not self.lives:
                    raise EngineDead(f"the engine of {self._node} is gone")
                self.made += bool(delta.tokens)
                yield delta
        finally:
            self.open -= 1

    def is_alive(self) -> bool:
        return self.lives

    def die(self) -> None:
        self.lives = False


class Network:
    """What other nodes reach a node through."""

    def __init__(self) -> None:
        self.connections = 0
        """All that there ever were."""
        self.sent = b""
        """To the node."""
        self._is_up, self._swallows = True, False
        self._forgotten: set[asyncio.StreamWriter] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._behind: tuple[str, int] = ("", 0)

    @contextlib.asynccontextmanager
    async def before(self, host: str, port: int) -> AsyncGenerator[str, None]:
        """The address, HOST:PORT, in front of that one."""
        self._behind = host, port
        async with await asyncio.start_server(self._connected, "127.0.0.1", 0) as server:
            yield "{}:{}".format(*server.sockets[0].getsockname())
            self.cut()

    def cut(self) -> None:
        """As when the node is killed: connections break, and no new one is let in."""
        self._is_up = False
        self.drop()

    def drop(self) -> None:
        """Connections break; new ones are let in."""
        for writer in self._open:
            writer.transport.abort()

    def swallow(self) -> None:
        """As when the node hangs: connections stay, and nothing comes through them any more."""
        self._swallows = True

    def forget(self) -> None:
        """As a firewall does with what is idle: nothing comes through the connections there are."""
        self._forgotten |= self._open

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        with contextlib.suppress(OSError):
            if not self._is_up:
                writer.transport.abort()
                return
            inner_reader, inner_writer = await asyncio.open_connection(*self._behind)
            self._open.add(inner_writer)
            if not self._is_up:  # it was cut meanwhile
                inner_writer.transport.abort()
            await asyncio.gather(
                self._pass_on(reader, inner_writer, is_inward=True),
                self._pass_on(inner_reader, writer),
            )

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_inward: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(2**16):
                if is_inward:
                    self.sent += block
                if not self._swallows and writer not in self._forgotten:
                    writer.write(block)
                    await writer.drain()
        writer.close()


@dataclass
class Neighbour:
    """A node."""

    name: str
    address: str
    """For clients: HOST:PORT."""
    network: Network
    """For other nodes."""
    engine: Storyteller
    service: Service

    @property
    def node(self) -> Node:
        return self.service.node

    @property
    def is_idle(self) -> bool:
        """Whether no session is left here, and no generation."""
        return not self.engine.open and not self.node.admission.sessions


@contextlib.asynccontextmanager
async def neighbour(
    name: str,
    base: BaseModel,
    folder: Path,
    registry: Registry,
    *,
    secret: str | None = None,
    keys: Sequence[Key] = (),
    voices: Sequence[str] | None = None,
) -> AsyncGenerator[Neighbour, None]:
    """A node that is ready; `voices` are its base's stock voices, if not those that it has."""
    base = replace(base, voices=tuple(voices or base.voices))
    network, engine = Network(), Storyteller(base, name)
    async with contextlib.AsyncExitStack() as stack:
        listening = stack.enter_context(contextlib.closing(bind("127.0.0.1", 0)))
        host, port = listening.getsockname()
        url = f"http://{await stack.enter_async_context(network.before(host, port))}"
        speaker = Speaker(engine, TellingCodec(), base)
        node = Node(speaker, open_store(str(folder / "store")), SLOTS, allows_unproven=True)
        me = NodeState(name, url, Pool(base.digest, base.language), voices=base.voices)
        membership = Membership(registry, me, node.load)
        await membership.join()
        await membership.become_ready()
        service = Service(node, membership, Keys(keys), NodeSecret(secret))
        await stack.enter_async_context(answering(service, listening))
        yield Neighbour(name, f"{host}:{port}", network, engine, service)
        await membership.leave()


@contextlib.asynccontextmanager
async def neighbours(
    base: BaseModel,
    folder: Path,
    names: Sequence[str],
    secret: str | None = None,
    keys: Sequence[Key] = (),
) -> AsyncGenerator[dict[str, Neighbour], None]:
    """Nodes by their names, who know each other."""
    registry = MemoryRegistry()
    async with contextlib.AsyncExitStack() as stack:
        nodes = {
            name: await stack.enter_async_context(
                neighbour(name, base, folder, registry, secret=secret, keys=keys)
            )
            for name in names
        }
        await know_each_other(nodes.values())
        yield nodes


Nodes = dict[str, Neighbour]


@pytest_asyncio.fixture
async def nodes(base: BaseModel, tmp_path: Path) -> AsyncGenerator[Nodes, None]:
    """Three, of which b should speak `VOICE`, and then c."""
    publish(base, tmp_path, VOICE)
    async with neighbours(base, tmp_path, NAMES) as started:
        yield started


async def say(node: Neighbour, text: str = TEXT, **more: Any) -> httpx.Response:
    """The answer of OpenAI's interface, whole."""
    body = {"model": "nano", "input": text, "voice": VOICE, "response_format": "pcm"}
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        url = f"http://{node.address}/v1/audio/speech"
        return await http.post(url, json=body | more.pop("body", {}), params=more)


def opening(node: Neighbour, **more: Any) -> dict[str, Any]:
    """What another node would ask that one for."""
    pool = node.service.membership.me.pool
    return {"voice": VOICE, "base_digest": pool.base_digest, "language": pool.language, **more}


async def is_over(nodes: Nodes) -> None:
    """Once no node has anything left of any session."""
    await eventually(lambda: all(node.is_idle for node in nodes.values()), "nothing is left")
    placements = [node.service.membership.placement for node in nodes.values()]
    assert not any(placement._sessions for placement in placements)


async def know_each_other(nodes: Iterable[Neighbour]) -> None:
    """Without waiting for a heartbeat."""
    for each in nodes:
        await each.service.membership.refresh()


def publish(base: BaseModel, folder: Path, voice: str) -> None:
    """A voice of random weights, straight into the store."""
    store = open_store(str(folder / "store"))
    source = voices.release(base, folder / "made", voice, seed=0)
    to = store.pointer(voice).published(store.add(source).name)
    store.move(store.see(voice), "publish", to)


def words(pcm: bytes) -> list[int]:
    """What was said, as `spelt` has it."""
    return [word.word for word in heard(pcm)]


def spelt(text: str) -> list[int]:
    """The words of a text in small letters, as `words` has them."""
    return [number(word.strip(".,").lower(), 24) for word in text.split()]


def speakers(pcm: bytes, names: Iterable[str]) -> Counter[str]:
    """How many words each node said."""
    named = {number(name, 6): name for name in names}
    return Counter(named[word.node] for word in heard(pcm))
