"""A text that is spoken in turns: it takes room only while there is something of it to say.

    next ─▶ is an utterance there? ─ yes ─▶ take room, or keep it ─▶ the utterance
                                    └ no ──▶ give the room back, and wait for text

Room is a stream of those that are real time (admission.py), and the voice's adapter in the engine
(slots.py). Between two utterances that are there it is kept, so that nobody is cut off in between.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from orpheus_clone.bundle import Adapter
from orpheus_clone.errors import Busy
from orpheus_clone.serve.admission import Admission
from orpheus_clone.serve.slots import Slots
from orpheus_clone.speech import Utterances


class Text(Utterances, Protocol):
    """What is said, of which it is known whether there is something of it to say now."""

    @property
    def is_there(self) -> bool:
        """Whether an utterance is to be spoken now."""
        ...


class Turns:
    """See the module docstring; close it when the text is spoken, or is not to be."""

    def __init__(
        self,
        script: Text,
        adapter: Adapter | None,
        admission: Admission,
        slots: Slots,
        *,
        patience_s: float,
    ) -> None:
        """`patience_s` is how long to wait for room before Busy is raised."""
        self._script, self._adapter = script, adapter
        self._admission, self._slots = admission, slots
        self._patience_s = patience_s
        self._held = AsyncExitStack()
        self._has_room = self._has_spoken = False

    @property
    def is_over(self) -> bool:
        """Whether all was taken, and no more will come."""
        return self._script.is_over

    async def next(self) -> str | None:
        """The next utterance, once there is room for it; None after the last."""
        if not self._script.is_there:
            await self.aclose()
        taken = await self._script.next()
        if taken is not None and not self._has_room:
            await self._take_room()
            if not self._has_spoken:
                self._has_spoken = True
                self._admission.begun()
        return taken

    async def aclose(self) -> None:
        """Give back what room is held."""
        await self._held.aclose()
        self._has_room = False

    async def _take_room(self) -> None:
        until = asyncio.get_running_loop().time() + self._patience_s
        while not self._has_room:
            changed = self._admission.changed  # asked for first, so that no change is missed
            try:
                await self._held.enter_async_context(self._room())
                self._has_room = True
            except Busy:
                if not await _is_set(changed, until):
                    raise

    @asynccontextmanager
    async def _room(self) -> AsyncGenerator[None, None]:
        try:
            with self._admission.turn():
                async with self._slots.use(self._adapter):
                    yield
        except Busy:
            raise  # it had nothing that others wait for
        except BaseException:  # an adapter could not be loaded, or nobody waits for it any more
            self._admission.tell()
            raise
        self._admission.tell()


async def _is_set(event: asyncio.Event, until: float) -> bool:
    """Wait for it until then, in the loop's time."""
    try:
        async with asyncio.timeout_at(until):
            return await event.wait()
    except TimeoutError:
        return False
