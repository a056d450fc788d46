"""An engine's tokens, a frame at a time: an engine yields one a step, and each costs its taker.

    engine    t t t t t t t t t t t t t t t … stop
    gathered  t           6             7     7 stop     the first at once, then each frame that is
                    └ and what has come by then, when time is up (`wait_s`)             whole

200 streams in real time are 16 000 tokens a second, and 2 300 frames.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable

from orpheus_clone.engine.base import Delta, Finish
from orpheus_clone.errors import EngineError
from orpheus_clone.tokens import FRAME


async def gathered(
    deltas: AsyncGenerator[Delta, None], wait_s: Callable[[], float | None]
) -> AsyncGenerator[Delta, None]:
    """The same tokens in larger deltas; what there is of them, often none, after `wait_s` seconds.

    The last one says why the utterance ended. Whoever made `deltas` closes them.
    """
    come = _Come()
    taking = asyncio.create_task(come.take(deltas))
    taking.add_done_callback(lambda _: come.news.set())
    try:
        finish: Finish | None = None
        while finish is None:
            delta = await come.delta(wait_s())
            is_over = taking.done()
            if delta.tokens or not is_over or delta.finish is not None:
                yield delta
            finish = delta.finish
            if is_over and finish is None:  # of what has come nothing is left
                taking.result()
                raise EngineError("the engine ended an utterance without saying why")
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)


class _Come:
    """What has come, and was not handed on."""

    def __init__(self) -> None:
        self.news, self._room = asyncio.Event(), asyncio.Event()
        self._tokens: list[int] = []
        self._finish: Finish | None = None

    async def take(self, deltas: AsyncGenerator[Delta, None]) -> None:
        """All of an utterance; not beyond a frame that nobody has taken yet."""
        count, told = 0, -1
        async for delta in deltas:
            self._tokens += delta.tokens
            self._finish = delta.finish
            count += len(delta.tokens)
            if delta.finish is not None or count // FRAME > told:
                self.news.set()
                told = count // FRAME
            while len(self._tokens) >= FRAME:
                self._room.clear()
                await self._room.wait()

    async def delta(self, wait_s: float | None) -> Delta:
        """What there is, once that is worth it or the time is up."""
        timer = None
        if wait_s is not None:
            timer = asyncio.get_running_loop().call_later(wait_s, self.news.set)
        try:
            await self.news.wait()
        finally:
            if timer is not None:
                timer.cancel()
        self.news.clear()
        delta, self._tokens = Delta(self._tokens, self._finish), []
        self._room.set()
        return delta
