"""serve, from top to bottom: take the port, start the engine, measure, join, answer, drain, leave.

The port is taken first, because the engine takes half a minute to start and nobody wants to wait
for that to hear that the port is in use. Readiness comes last, once everything can speak, and goes
first: with a signal to stop, or when the engine dies or hangs. Then the node ends with an error,
for whoever watches over it to start it again.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from orpheus_clone.cluster.membership import Membership
from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.cluster.redis import RedisRegistry
from orpheus_clone.cluster.registry import IdTaken
from orpheus_clone.cluster.state import Load, NodeState, Phase, Pool
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine import EngineName, open_engine
from orpheus_clone.engine.base import MAX_STREAMS, Engine
from orpheus_clone.errors import EngineDead, MachineError, NodeError, RecipeError
from orpheus_clone.models import BaseModel
from orpheus_clone.serve import logs, tracing
from orpheus_clone.serve.admission import Promise
from orpheus_clone.serve.app import create_app
from orpheus_clone.serve.auth import Keys, NodeSecret, check_host, check_secret, is_loopback
from orpheus_clone.serve.bounded import BoundedEngine
from orpheus_clone.serve.keys import read as read_keys
from orpheus_clone.serve.logs import LogFormat
from orpheus_clone.serve.node import Node
from orpheus_clone.serve.server import (
    CLOSE_SECONDS,
    DRAIN_SECONDS,
    DeafServer,
    Server,
    Sockets,
    Steps,
)
from orpheus_clone.serve.service import Service
from orpheus_clone.serve.tls import Tls
from orpheus_clone.serve.warming import warming
from orpheus_clone.serve.warmup import measure
from orpheus_clone.speech import Speaker, Voice
from orpheus_clone.store import open_store

log = logging.getLogger(__name__)

SEND_BYTES = 128 * 2**10
"""Of sound that the kernel holds for a slow client; left alone, it holds 4 MB."""
STALL_SECONDS = 30
"""A connection that takes no byte for so long is dropped; `limits` says the same of sockets."""
WATCH_SECONDS = 0.25


@dataclass(frozen=True)
class Settings:
    """How a node is started."""

    host: str
    port: int
    store: str
    engine: EngineName
    max_adapters: int
    allows_unproven: bool
    redis_url: str | None
    node_id: str | None
    node_url: str | None
    keys: Path | None = None
    """The file of the keys that clients show; see `serve.keys`."""
    tls: Tls = field(default_factory=Tls)
    log: LogFormat = "text"
    admits_all: bool = False
    """Whether or not it would be real time."""
    max_sessions: int | None = None
    drain_seconds: float = DRAIN_SECONDS
    """How long what is being heard may go on after the signal to stop."""

    @property
    def promise(self) -> Promise:
        """Whom the node takes in."""
        return Promise(self.admits_all, self.max_sessions, MAX_STREAMS)


async def serve(
    base: BaseModel,
    settings: Settings,
    ready: Callable[[str], None],
    say: Callable[[str], None],
) -> None:
    """Run a node until it is told to stop; `ready` gets its URL once it speaks.

    `say` is told before anything that takes long.
    """
    keys = Keys([] if settings.keys is None else read_keys(settings.keys))
    secret = NodeSecret.from_environment()
    check_host(settings.host, keys)
    check_secret(settings.host, settings.redis_url, secret, keys)
    check_reachable(settings)
    certificate, trust = settings.tls.listening(), settings.tls.connecting()
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(contextlib.closing(bind(settings.host, settings.port)))
        scheme = "http" if certificate is None else "https"
        url = f"{scheme}://{_in_url(settings.host)}:{listening.getsockname()[1]}"
        node_id = settings.node_id or url
        stack.enter_context(logs.written(settings.log, node_id))
        stack.enter_context(tracing.exporting(node_id))
        engine = open_engine(settings.engine, base, max_adapters=settings.max_adapters, say=say)
        try:
            codec = Codec(base.codec_path)
            first = Speaker(engine, codec, base)  # it may take long, this once
            await first.say("Hello.", Voice(base.voices[0]), max_seconds=0.5)
            speaker = Speaker(BoundedEngine(engine), codec, base)
            store = open_store(settings.store)
            node = Node(
                speaker,
                store,
                settings.max_adapters,
                settings.allows_unproven,
                promise=settings.promise,
            )
            await measure(speaker, node.admission)
            await node.ask(node.tidy)
            pool = Pool(base.digest, base.language)
            me = NodeState(node_id, settings.node_url or url, pool, voices=base.voices)
            async with _member(me, node.load, settings.redis_url) as membership:
                service = Service(node, membership, keys, secret, trust)
                steps = _steps(service, lambda: ready(url), settings.drain_seconds)
                server = Server(_config(service, certificate), steps)
                async with (
                    watched(speaker.engine, membership, server),
                    warming(node, membership, died=server.stop),
                ):
                    await server.serve(sockets=[listening])
        finally:
            await engine.close()


def check_reachable(settings: Settings) -> None:
    """RecipeError where other nodes would be told an address that leads them nowhere, or home."""
    if settings.node_url is not None and not settings.node_url.startswith(("http://", "https://")):
        raise RecipeError(f"--node-url {settings.node_url}: expected http://HOST:PORT or https://…")
    if settings.redis_url is None or settings.node_url is not None:
        return
    is_everywhere = settings.host in ("0.0.0.0", "::")
    if is_everywhere or (is_loopback(settings.host) and not _is_here(settings.redis_url)):
        raise RecipeError(
            f"other nodes cannot reach this one at {settings.host}; say where they can, as in "
            "--node-url http://10.0.0.7:8000"
        )


def _is_here(redis_url: str) -> bool:
    return is_loopback(urlsplit(redis_url).hostname or "localhost")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; MachineError if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio spares a connection Nagle's wait (40 ms a packet) only where the protocol is named.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # so that who reads nothing does not stay for hours
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALL_SECONDS * 1000)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise MachineError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --port, or 0 for "
            "any that is free"
        ) from error
    return listening


@contextlib.asynccontextmanager
async def _member(
    me: NodeState, load: Callable[[], Load], redis_url: str | None
) -> AsyncGenerator[Membership, None]:
    # The URL may hold a password, so no message repeats it.
    try:
        registry = MemoryRegistry() if redis_url is None else RedisRegistry(redis_url)
    except ValueError as error:
        raise RecipeError("--redis-url: expected redis://HOST:PORT or rediss://…") from error
    membership = Membership(registry, me, load)
    try:
        await membership.join()
    except (IdTaken, OSError) as error:
        await registry.close()
        if isinstance(error, IdTaken):
            raise
        raise NodeError(f"--redis-url: cannot be reached: {error}") from error
    try:
        yield membership
    finally:
        await membership.leave()


@contextlib.asynccontextmanager
async def watched(
    engine: Engine, membership: Membership, server: Server
) -> AsyncGenerator[None, None]:
    """Stop the server when the engine dies or hangs, or another process has this node's id.

    It stops as at a signal: who came to this node and is spoken with at another is heard on. The
    block then ends with EngineDead or NodeError.
    """

    def check() -> None:
        if not engine.is_alive():
            raise EngineDead("the engine is gone, or hangs, and the node with it; start it again")
        if membership.me.phase is Phase.LEFT:
            raise NodeError(f"this node has lost the id {membership.me.id!r}; start it again")

    async def watch() -> None:
        try:
            while True:
                check()
                await asyncio.sleep(WATCH_SECONDS)
        except (EngineDead, NodeError) as error:
            log.error("%s", error)
        server.stop()

    task = asyncio.create_task(watch())
    try:
        yield
        check()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def answering(
    service: Service, listening: socket.socket, certificate: ssl.SSLContext | None = None
) -> AsyncGenerator[None, None]:
    """A server in this process for the length of the block; signals are not its business."""
    server = DeafServer(_config(service, certificate))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await task


def _steps(service: Service, ready: Callable[[], None], drain_seconds: float) -> Steps:
    """What a node does as its server begins and ends."""

    async def started() -> None:
        await service.membership.become_ready()
        ready()

    async def draining() -> None:
        log.info("told to stop: no new sessions, and %g s for those that are heard", drain_seconds)
        service.admission.is_draining = True
        await service.membership.drain()

    return Steps(started, draining, drain_seconds)


def _config(service: Service, certificate: ssl.SSLContext | None) -> uvicorn.Config:
    """What the server beneath allows; sound is not compressed a second time."""
    logs.quiet()
    return uvicorn.Config(
        create_app(service),
        log_config=None,
        lifespan="on",  # else an error in it is taken for an application that has none
        ssl_context_factory=None if certificate is None else lambda *_: certificate,
        timeout_graceful_shutdown=CLOSE_SECONDS,
        http="h11",  # httptools takes headers of any size, before a key is asked for
        h11_max_incomplete_event_size=64 * 1024,
        ws=Sockets,
        ws_max_size=service.limits.frame_bytes,
        ws_per_message_deflate=False,
    )
