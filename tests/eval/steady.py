"""A scripted engine that never runs out, and counts the streams that are open."""

import asyncio
from collections.abc import AsyncGenerator

from orpheus_clone import tokens
from orpheus_clone.bundle import Adapter
from orpheus_clone.engine.base import Delta, EngineInfo, Request
from orpheus_clone.errors import EngineDead

FRAME = [tokens.slot_ids(slot)[100 * slot] for slot in range(tokens.FRAME)]


class SteadyEngine:
    """Says one frame for each of the first utterance, two for the second, …, and again."""

    def __init__(self, info: EngineInfo | None = None, *, dies_at: int | None = None) -> None:
        self.info = info or EngineInfo("fake", "CPU (none)", "fp32")
        self.requests: list[Request] = []
        self.open = 0
        self._dies_at = dies_at

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        self.requests.append(request)
        if self._dies_at == len(self.requests):
            raise EngineDead("gone")
        frames = 1 + len(self.requests) % 4
        self.open += 1
        try:
            for _ in range(frames):
                await asyncio.sleep(0.002)
                yield Delta(FRAME)
            yield Delta([], "stop")
        finally:
            self.open -= 1

    async def load(self, adapter: Adapter) -> None: ...

    async def unload(self, adapter: Adapter) -> None: ...

    def is_alive(self) -> bool:
        return True

    async def close(self) -> None: ...
