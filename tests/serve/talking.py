"""A node in this process above a scripted engine, and the bare socket of a client."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect

from orpheus_clone import tokens
from orpheus_clone.bundle import Adapter
from orpheus_clone.cluster.membership import Membership
from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.cluster.registry import Registry
from orpheus_clone.cluster.state import NodeState, Pool
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import Delta, EngineInfo, Request
from orpheus_clone.models import BaseModel
from orpheus_clone.serve.auth import Keys, NodeSecret
from orpheus_clone.serve.limits import Limits
from orpheus_clone.serve.node import Node
from orpheus_clone.serve.run import answering, bind
from orpheus_clone.serve.service import Service
from orpheus_clone.serve.tls import Tls
from orpheus_clone.speech import Speaker
from orpheus_clone.store import open_store
from tests.serve.keyed import known

VOICE = "ada"


class Talker:
    """Says so many frames an utterance, or as many as it may; no two frames alike."""

    info = EngineInfo("fake", "CPU (none)", "fp32")

    def __init__(self, frames: int | None = 2) -> None:
        self.frames = frames
        self.requests: list[Request] = []
        self.made = self.open = 0
        self.lives = True
        self.may_speak = asyncio.Event()
        self.may_speak.set()
        self._random = np.random.default_rng(0)

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        self.requests.append(request)
        self.open += 1
        try:
            await self.may_speak.wait()
            for _ in range(min(self.frames or request.max_frames, request.max_frames)):
                await asyncio.sleep(0)
                yield Delta([int(self._random.choice(tokens.slot_ids(s))) for s in range(7)])
                self.made += 1
            yield Delta([], "stop")
        finally:
            self.open -= 1

    async def load(self, adapter: Adapter) -> None: ...

    async def unload(self, adapter: Adapter) -> None: ...

    def is_alive(self) -> bool:
        return self.lives

    async def close(self) -> None: ...


@contextlib.asynccontextmanager
async def talking(
    engine: Talker,
    codec: Codec,
    base: BaseModel,
    folder: Path,
    limits: Limits | None = None,
    keys: tuple[str, ...] = (),
    secret: NodeSecret | None = None,
    registry: Registry | None = None,
    tls: Tls | None = None,
) -> AsyncGenerator[str, None]:
    """The address of the node, HOST:PORT."""
    with contextlib.closing(bind("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        tls = tls or Tls()
        url = f"{'https' if tls.cert else 'http'}://{address}"
        me = NodeState(address, url, Pool(base.digest, base.language))
        membership = Membership(registry or MemoryRegistry(), me)
        await membership.join()
        await membership.become_ready()
        node = Node(Speaker(engine, codec, base), open_store(str(folder / "store")), 1)
        known_keys = Keys([known(key, f"key{i}") for i, key in enumerate(keys)])
        secret, limits = secret or NodeSecret(None), limits or Limits()
        service = Service(node, membership, known_keys, secret, tls.connecting(), limits)
        async with answering(service, listening, tls.listening()):
            yield address
        await membership.leave()


@pytest.fixture
def engine() -> Talker:
    return Talker()


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest_asyncio.fixture
async def node(
    engine: Talker, codec: Codec, base: BaseModel, tmp_path: Path, limits: Limits
) -> AsyncGenerator[str, None]:
    """The address of one that talks."""
    async with talking(engine, codec, base, tmp_path, limits) as address:
        yield address


async def eventually(condition: Callable[[], object], what: str) -> None:
    """As tests.waiting's, where what is waited for happens in our loop."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.001)
    assert condition(), what


class Socket:
    """A client that says what it is told to, and keeps all that it hears."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.heard: list[dict[str, Any]] = []

    async def say(self, *messages: dict[str, Any] | str) -> None:
        for message in messages:
            await self.connection.send(message if isinstance(message, str) else json.dumps(message))

    async def hear(self, until: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first message of which `until` holds."""
        async with asyncio.timeout(10):
            while True:
                message: dict[str, Any] = json.loads(await self.connection.recv())
                self.heard.append(message)
                if until(message):
                    return message

    async def final(self, context: str | None = None) -> list[dict[str, Any]]:
        """All messages of a context, the final one last."""
        await self.hear(lambda m: m.get("isFinal") and m.get("contextId") == context)
        return [message for message in self.heard if message.get("contextId") == context]

    async def settled(self) -> None:
        """Once all that was said before was read."""
        await self.say("?")
        await self.hear(lambda m: "error" in m and "contextId" not in m)

    async def closed(self) -> int | None:
        """The code that the node closes the socket with."""
        async with asyncio.timeout(10):
            with contextlib.suppress(Exception):
                while True:
                    self.heard.append(json.loads(await self.connection.recv()))
            await self.connection.wait_closed()
        return self.connection.close_code


@contextlib.asynccontextmanager
async def socket(
    address: str, form: str = "multi-stream-input", voice: str = VOICE, **query: object
) -> AsyncGenerator[Socket, None]:
    """A socket; `query` goes into its URL, at 24 kHz PCM if nothing else is said."""
    parameters = "&".join(f"{k}={v}" for k, v in {"output_format": "pcm_24000", **query}.items())
    async with connect(f"ws://{address}/v1/text-to-speech/{voice}/{form}?{parameters}") as open_:
        yield Socket(open_)


def sound(messages: list[dict[str, Any]]) -> bytes:
    """What is heard in them."""
    return b"".join(base64.b64decode(message.get("audio") or "") for message in messages)


def letters(messages: list[dict[str, Any]]) -> str:
    """What their alignments spell."""
    aligned = [message["alignment"] for message in messages if message.get("alignment")]
    return "".join("".join(times["chars"]) for times in aligned)
