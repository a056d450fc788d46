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
        """Whether an adapter that is not resident could be, and none of `keep` made room for it.

        Those that are on their way need their room too.
        """
        coming = self._loads.keys() - self._resident.keys()
        if name in self._resident or name in coming:
            return False
        return len(self._resident) + len(coming) - len(self._idle(keep)) < self._most

    @contextlib.asynccontextmanager
    async def use(
        self, adapter: Adapter | None, keep: Collection[str] = ()
    ) -> AsyncGenerator[None, None]:
        """Keep an adapter resident for the length of the block; Busy if every slot is in use.

        None of `keep` makes room for it. A stock voice, which has no adapter, needs no slot.
        """
        if adapter is None:
            yield
            return
        self._users[adapter.name] += 1
        try:
            if adapter.name not in self._resident:
                await self._loaded(adapter, keep)
            self._resident[adapter.name] = self._resident.pop(adapter.name)
            yield
        finally:
            self._users[adapter.name] -= 1

    async def _loaded(self, adapter: Adapter, keep: Collection[str]) -> None:
        """Once it is; it is loaded once for all who wait."""
        if adapter.name not in self._loads:
            load = self._loads[adapter.name] = asyncio.create_task(self._load(adapter, keep))
            load.add_done_callback(lambda _: self._landed(adapter.name))
        await asyncio.shield(self._loads[adapter.name])

    def _landed(self, name: str) -> None:
        load = self._loads.pop(name)
        if not load.cancelled():
            load.exception()  # nobody may be left to hear of it

    async def _load(self, adapter: Adapter, keep: Collection[str]) -> None:
        async with self._lock:
            await self._make_room(keep)
            with self._metrics.adapter_loads.time():
                await self._engine.load(adapter)
            self._resident[adapter.name] = adapter

    def _idle(self, keep: Collection[str]) -> list[str]:
        """Those that may go, the one that has been idle longest first."""
        return [name for name in self._resident if not self._users[name] and name not in keep]

    async def _make_room(self, keep: Collection[str]) -> None:
        if len(self._resident) < self._most:
            return
        idle = self._idle(keep)
        if not idle:
            raise Busy(f"all {self._most} adapter slots are speaking; try again later")
        adapter = self._resident.pop(idle[0])
        del self._users[idle[0]]
        self._metrics.adapter_evictions.inc()
        with contextlib.suppress(EngineDead):
            await self._engine.unload(adapter)
