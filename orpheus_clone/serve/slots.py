"""The adapters in the engine: never more than it has slots, and none that is in use makes room.

    use ─▶ is it resident? ─ no ─▶ a free slot, or that of the one idle longest ─▶ load
     └─ in use until the block ends; Busy where every slot is

Who gives up while an adapter is being loaded leaves it to its end: half a load is no load, and the
engine would hold what nobody counts.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Mapping

from orpheus_clone.bundle import Adapter
from orpheus_clone.engine.base import Engine
from orpheus_clone.errors import Busy, EngineDead
from orpheus_clone.serve.metrics import Metrics


class Slots:
    """See the module docstring."""

    def __init__(self, engine: Engine, most: int, metrics: Metrics) -> None:
        self._engine, self._most, self._metrics = engine, most, metrics
        self._resident: dict[str, Adapter] = {}
        """Those used last are last."""
        self._users: Counter[str] = Counter()
        """Of each adapter, those that wait for it too."""
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._lock = asyncio.Lock()

    @property
    def resident(self) -> Mapping[str, int]:
        """The adapters in the engine, and how many use each now."""
        return {name: self._users[name] for name in self._resident}

    def has_room_for(self, name: str, keep: Collection[str]) -> bool:
        """Whether an adapter that is not resident could be, and none of `keep` made room for it."""
        if name in self._resident:
            return False
        return len(self._resident) < self._most or self._next_to_go() not in {None, *keep}

    @contextlib.asynccontextmanager
    async def use(self, adapter: Adapter | None) -> AsyncGenerator[None, None]:
        """Keep an adapter resident for the length of the block; Busy if every slot is in use.

        A stock voice, which has none, needs no slot.
        """
        if adapter is None:
            yield
            return
        self._users[adapter.name] += 1
        try:
            if adapter.name not in self._resident:
                await self._loaded(adapter)
            self._resident[adapter.name] = self._resident.pop(adapter.name)
            yield
        finally:
            self._users[adapter.name] -= 1

    async def _loaded(self, adapter: Adapter) -> None:
        """Once it is; it is loaded once for all who wait."""
        if adapter.name not in self._loads:
            load = self._loads[adapter.name] = asyncio.create_task(self._load(adapter))
            load.add_done_callback(lambda _: self._landed(adapter.name))
        await asyncio.shield(self._loads[adapter.name])

    def _landed(self, name: str) -> None:
        load = self._loads.pop(name)
        if not load.cancelled():
            load.exception()  # nobody may be left to hear of it

    async def _load(self, adapter: Adapter) -> None:
        async with self._lock:
            await self._make_room()
            with self._metrics.adapter_loads.time():
                await self._engine.load(adapter)
            self._resident[adapter.name] = adapter

    def _next_to_go(self) -> str | None:
        """The one that has been idle longest."""
        return next((name for name in self._resident if not self._users[name]), None)

    async def _make_room(self) -> None:
        if len(self._resident) < self._most:
            return
        idle = self._next_to_go()
        if idle is None:
            raise Busy(f"all {self._most} adapter slots are speaking; try again later")
        adapter = self._resident.pop(idle)
        del self._users[idle]
        self._metrics.adapter_evictions.inc()
        with contextlib.suppress(EngineDead):
            await self._engine.unload(adapter)
