"""Nodes above a paced engine in a process of their own, and clients that cost next to nothing.

    this process                        the other one
    raw HTTP, websockets ─ loopback ──▶ node-0, node-1 … of one event loop and one registry

The clients are in another process than the nodes, so that what they take is not counted as the
nodes'. The voice `VOICE` is published on all of them.
"""

import asyncio
import base64
import contextlib
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from orpheus_clone import models
from orpheus_clone.bench import voices
from orpheus_clone.bench.paced import FreeCodec, PacedEngine
from orpheus_clone.cluster.membership import Membership
from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.cluster.state import NodeState, Pool
from orpheus_clone.errors import NodeError
from orpheus_clone.models import BaseModel
from orpheus_clone.serve.admission import Promise
from orpheus_clone.serve.auth import Keys
from orpheus_clone.serve.node import Node
from orpheus_clone.serve.run import answering, bind
from orpheus_clone.serve.service import Service
from orpheus_clone.speech import Speaker
from orpheus_clone.store import open_store
from orpheus_clone.tokens import FRAME, FRAME_SAMPLES

VOICE = "bench"
TEXT = "This sentence is spoken by an engine that costs nothing, at a pace that was set. "
SLOTS = 4
STOP_SECONDS = 10
FILES = 8_192
"""Sockets are files, and a shell often allows 1024."""


@dataclass(frozen=True)
class Served:
    """Nodes that answer."""

    addresses: list[str]
    """HOST:PORT of each."""
    process: int


@dataclass(frozen=True)
class Pace:
    """Of the engine: tokens a second of each stream, and frames of an utterance."""

    rate: float
    frames: int


@contextlib.contextmanager
def nodes(count: int, pace: Pace) -> Iterator[Served]:
    """So many nodes, until the block ends."""
    allow_many_files()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=_serve, args=(there, Path(folder), count, pace))
        process.start()
        there.close()
        try:
            yield Served(here.recv(), process.pid or 0)
        finally:
            here.close()
            process.join(STOP_SECONDS)
            process.kill()


def allow_many_files() -> None:
    """As many open files as the machine lets us have, up to FILES."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _serve(parent: Connection, folder: Path, count: int, pace: Pace) -> None:
    allow_many_files()
    asyncio.run(_serve_all(parent, folder, count, pace))


async def _serve_all(parent: Connection, folder: Path, count: int, pace: Pace) -> None:
    base, registry = models.locate("nano"), MemoryRegistry()
    store = open_store(str(folder / "store"))
    released = voices.release(base, folder, VOICE, seed=0)
    store.move(
        store.see(VOICE), "publish", store.pointer(VOICE).published(store.add(released).name)
    )
    async with AsyncExitStack() as stack:
        members = [
            await stack.enter_async_context(_node(f"node-{i}", base, registry, folder, pace))
            for i in range(count)
        ]
        for member in members:
            await member.refresh()  # those that came first have not heard of the last yet
        parent.send([member.me.url.removeprefix("http://") for member in members])
        with contextlib.suppress(EOFError):
            await asyncio.to_thread(parent.recv)


@contextlib.asynccontextmanager
async def _node(
    name: str, base: BaseModel, registry: MemoryRegistry, folder: Path, pace: Pace
) -> AsyncGenerator[Membership, None]:
    """A node that speaks."""
    with contextlib.closing(bind("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        speaker = Speaker(PacedEngine(pace.rate, pace.frames), FreeCodec(), base)
        store, everybody = open_store(str(folder / "store")), Promise(admits_all=True)
        node = Node(speaker, store, SLOTS, allows_unproven=True, promise=everybody)
        me = NodeState(name, f"http://{address}", Pool(base.digest, base.language))
        membership = Membership(registry, me, node.load)
        await membership.join()
        await membership.become_ready()
        async with answering(Service(node, membership, Keys([])), listening):
            yield membership
        await membership.leave()


@dataclass
class Heard:
    """What a client has of a session; seconds are from its request."""

    began: float = field(default_factory=time.perf_counter)
    at_s: list[float] = field(default_factory=list)
    """When sound came,"""
    samples: list[int] = field(default_factory=list)
    """and how much."""
    node: str = ""
    """Which one spoke, where the answer says so."""

    def take(self, pcm: bytes) -> None:
        """16-bit samples that have come now."""
        if pcm:
            self.at_s.append(time.perf_counter() - self.began)
            self.samples.append(len(pcm) // 2)

    @property
    def first_ms(self) -> float:
        """Until the first sound."""
        return 1000 * self.at_s[0]

    @property
    def rate(self) -> float:
        """Tokens a second after the first sound."""
        tokens = sum(self.samples[1:]) * FRAME / FRAME_SAMPLES
        return tokens / max(self.at_s[-1] - self.at_s[0], 1e-9)


async def ask(address: str, voice: str = VOICE) -> Heard:
    """A request of OpenAI's interface over a connection of its own, heard to its end."""
    reader, writer = await asyncio.open_connection(*address.split(":"))
    try:
        heard = Heard()
        writer.write(_request(address, voice))
        heard.node = await _node_of_answer(reader)
        async with aclosing(_chunks(reader)) as chunks:
            async for chunk in chunks:
                heard.take(chunk)
        return heard
    finally:
        writer.close()


def _request(address: str, voice: str) -> bytes:
    wanted = {"model": "nano", "input": TEXT, "voice": voice, "response_format": "pcm"}
    body = json.dumps(wanted).encode()
    head = f"POST /v1/audio/speech HTTP/1.1\r\nhost: {address}\r\ncontent-length: {len(body)}\r\n"
    return f"{head}content-type: application/json\r\n\r\n".encode() + body


async def _node_of_answer(reader: asyncio.StreamReader) -> str:
    """Who speaks, from the head of an answer; NodeError if it is none with sound."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    if " 200 " not in head[0]:
        raise NodeError(f"{head[0]}: {(await reader.read(1000)).decode(errors='replace')}")
    fields = dict(line.split(": ", 1) for line in head[1:] if line)
    return fields.get("x-orpheus-clone-node", "")


async def _chunks(reader: asyncio.StreamReader) -> AsyncGenerator[bytes, None]:
    """The chunks of a body (RFC 9112, 7.1)."""
    while size := int(await reader.readline(), 16):
        yield (await reader.readexactly(size + 2))[:-2]


@contextlib.asynccontextmanager
async def socket(address: str, voice: str = VOICE) -> AsyncGenerator[ClientConnection, None]:
    """A socket of ElevenLabs' interface on which nothing was said."""
    query = "output_format=pcm_24000&inactivity_timeout=180"
    url = f"ws://{address}/v1/text-to-speech/{voice}/stream-input?{query}"
    async with connect(url, compression=None, ping_interval=None, max_queue=None) as connection:
        yield connection


async def say(connection: ClientConnection) -> Heard:
    """The text, and its end, over a socket; heard to its end."""
    heard = Heard()
    await connection.send(json.dumps({"text": TEXT, "flush": True}))
    await connection.send('{"text": ""}')
    async for message in connection:
        said = json.loads(message)
        if "error" in said:
            raise NodeError(said["error"])
        heard.take(base64.b64decode(said.get("audio") or ""))
        if said.get("isFinal"):
            break
    return heard
