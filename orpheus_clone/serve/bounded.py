"""An engine that is given up once it makes nothing any more, though its process lives.

    a stream waits for a token, or a voice for its slot ─┐
    nothing has come, for anybody, for `silent_s` ───────┴─▶ dead: EngineDead for all who wait

One that is slow, or has a long queue, makes something for somebody, so only all who wait tell that
it hangs. Only waiting counts: nothing is made where nobody asks, and a listener who takes nothing
holds up nobody but himself. Who gave up waited too: clients that try again do not hide it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

from orpheus_clone.bundle import Adapter
from orpheus_clone.engine.base import Delta, Engine, Request
from orpheus_clone.errors import EngineDead

SILENT_S = 20.0
"""A step takes milliseconds, and an adapter a second or two. Other nodes wait longer for this one
(`links.SILENT_S`), so that they are told why."""

T = TypeVar("T")


class BoundedEngine:
    """See the module docstring; an `Engine`."""

    def __init__(self, engine: Engine, silent_s: float = SILENT_S) -> None:
        self.info = engine.info
        self._engine, self._silent_s = engine, silent_s
        self._has_hung = False
        self._waiting: set[asyncio.Timeout] = set()
        self._since = self._waited_s = 0.0
        """Since when somebody waits, and how long others did before, for nothing."""
        self._timer: asyncio.TimerHandle | None = None

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Stream an utterance; see `Engine.generate`. One task takes all of it."""
        deltas = self._engine.generate(request)
        async with _bound() as bound, aclosing(deltas):
            while (delta := await self._made(bound, anext(deltas, None))) is not None:
                yield delta

    async def load(self, adapter: Adapter) -> None:
        """Make an adapter resident; see `Engine.load`."""
        async with _bound() as bound:
            await self._made(bound, self._engine.load(adapter))

    async def unload(self, adapter: Adapter) -> None:
        """Forget an adapter."""
        async with _bound() as bound:
            await self._made(bound, self._engine.unload(adapter))

    def is_alive(self) -> bool:
        """Whether it can still generate, and has not hung."""
        return not self._has_hung and self._engine.is_alive()

    async def close(self) -> None:
        """Free everything; see `Engine.close`."""
        await self._engine.close()

    async def _made(self, bound: asyncio.Timeout, coming: Awaitable[T]) -> T:
        """What comes; the time of who waits for it is up once the engine hangs."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.add(bound)
        if self._timer is None:
            self._look_later()
        try:
            made = await coming
        except BaseException:
            self._leave(bound)
            raise
        self._waiting.discard(bound)
        self._since, self._waited_s = time.monotonic(), 0.0
        return made

    def _leave(self, bound: asyncio.Timeout) -> None:
        """Nothing came."""
        self._waiting.discard(bound)
        if not self._waiting:
            self._waited_s += time.monotonic() - self._since

    @property
    def _left_s(self) -> float:
        return self._silent_s - self._waited_s - (time.monotonic() - self._since)

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._left_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        if self._left_s > 0:
            self._look_later()
            return
        self._has_hung = True
        waiting, self._waiting = self._waiting, set()
        for bound in waiting:
            bound.reschedule(asyncio.get_running_loop().time())


@asynccontextmanager
async def _bound() -> AsyncGenerator[asyncio.Timeout, None]:
    """EngineDead where the time is up, which is only set once the engine hangs."""
    bound = asyncio.timeout(None)
    try:
        async with bound:
            yield bound
    except TimeoutError:
        if not bound.expired():
            raise
        raise EngineDead("the engine hangs: it makes nothing; restart this node") from None
