"""A client's socket, from the handshake to the goodbye: messages in, contexts, messages out.

    reading ─▶ one message ─▶ its context: write, flush, end, cancel
       │                          └─ task: speak and send ─▶ client
       └─ gone, idle, over a limit ───────▶ over: every task is cancelled, the socket closed

What closing a context means is told apart as ElevenLabs does: what was flushed before is spoken to
its end; where text is waiting that was not, somebody was interrupted, and all is cut off at once.
So is a context that is closed a second time.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from orpheus_clone.errors import DataError, OrpheusCloneError
from orpheus_clone.serve import messages
from orpheus_clone.serve.contexts import Context
from orpheus_clone.serve.limits import LEAST_CHARACTERS, Limits, Rate
from orpheus_clone.serve.messages import ClientMessage

log = logging.getLogger(__name__)

NORMAL, POLICY, INTERNAL = 1000, 1008, 1011
"""Codes of RFC 6455 that sockets are closed with."""


@dataclass(frozen=True)
class Goodbye:
    """Why a socket is closed."""

    code: int
    reason: str


GONE = Goodbye(NORMAL, "the client is gone")

Open = Callable[[str, ClientMessage], Context]
"""Makes the context that a message opens, by its name."""


class Session:
    """See the module docstring."""

    def __init__(
        self,
        socket: WebSocket,
        open_context: Open,
        limits: Limits,
        *,
        idle_s: float,
        is_single: bool,
    ) -> None:
        """`is_single` is the form with one context, which ends with an empty text."""
        self._socket, self._open, self._limits = socket, open_context, limits
        self._idle_s, self._is_single = idle_s, is_single
        self._contexts: dict[str, Context] = {}
        """Open ones."""
        self._tasks: dict[asyncio.Task[None], tuple[str, Context]] = {}
        """Of all that speak, those that were closed and speak to their end too."""
        loop = asyncio.get_running_loop()
        self._now = loop.time
        self._quiet_since = loop.time()
        """When the client, or we, last said something."""
        self._over: asyncio.Future[Goodbye] = loop.create_future()
        self._characters = Rate(limits.characters_per_second, loop.time)
        self._controls = Rate(limits.control_messages_per_second, loop.time)
        self._has_published = self._is_ending = False

    async def run(self) -> None:
        """Serve the client until one of the two leaves."""
        reading = asyncio.create_task(self._read())
        reading.add_done_callback(self._check)
        try:
            goodbye = await self._over
        finally:
            await _cancelled([reading, *self._tasks])
        if goodbye is not GONE:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
                async with asyncio.timeout(self._limits.write_stall_seconds):
                    await self._socket.close(goodbye.code, goodbye.reason)

    async def send(self, message: dict[str, Any]) -> None:
        """Hand a message to the client; the first one carries the limits."""
        if not self._has_published:
            self._has_published = True
            message = message | {"limits": self._limits.published()}
        try:
            async with asyncio.timeout(self._limits.write_stall_seconds):
                await self._socket.send_text(json.dumps(message))
            self._quiet_since = self._now()
        except TimeoutError:
            log.warning("a client read nothing for %s s", self._limits.write_stall_seconds)
            self._end(GONE)
        except (WebSocketDisconnect, RuntimeError):
            self._end(GONE)

    async def _read(self) -> None:
        while not self._over.done():
            try:
                async with asyncio.timeout_at(self._quiet_since + self._idle_s):
                    received = await self._socket.receive()
            except TimeoutError:
                await self._look()
                continue
            self._quiet_since = self._now()
            if received["type"] == "websocket.disconnect":
                self._end(GONE)
                return
            try:
                await self._handle(messages.read(received.get("text") or ""))
            except DataError as error:
                await self._control()
                await self._refuse(str(error), is_last=self._is_single)
            await asyncio.sleep(0)  # many more may be there, and others want to speak

    async def _look(self) -> None:
        """Close the socket if it was quiet for too long."""
        if any(context.is_busy for _, context in self._tasks.values()):
            self._quiet_since = self._now()
        elif self._now() >= self._quiet_since + self._idle_s:
            await self._refuse(f"nothing was heard for {self._idle_s:g} s", is_last=True)

    async def _handle(self, message: ClientMessage) -> None:
        if message.text:
            await self._charge(message.text)
        else:
            await self._control()
        if self._is_single:
            await self._handle_single(message)
        elif message.close_socket:
            await self._close_socket()
        elif message.close_context:
            await self._close_context(message.context)
        elif message.text or message.context in self._contexts:
            await self._write(message.context, message)

    async def _handle_single(self, message: ClientMessage) -> None:
        if self._is_ending:
            raise DataError("the text has ended; open another socket for more")
        await self._write(messages.DEFAULT_CONTEXT, message)
        context = self._contexts.get(messages.DEFAULT_CONTEXT)
        if context is not None and (message.text == "" or message.close_socket):
            self._is_ending = True
            context.end()

    async def _write(self, name: str, message: ClientMessage) -> None:
        context = self._contexts.get(name) or self._opened(name, message)
        if context is None:
            error = f"{self._limits.contexts} contexts are open; close one first"
            if self._is_ending:
                error = "the socket is closing; open another"
            await self.send({"error": error, "code": POLICY, **messages.names(name)})
            return
        # A space parts words, and says nothing before the first.
        if message.text and (message.has_text or not context.is_flushed):
            if context.held + len(message.text) > self._limits.buffer_characters:
                await self._overflow(name)
                return
            context.write(message.text)
        if message.flush:
            context.flush()

    def _opened(self, name: str, message: ClientMessage) -> Context | None:
        """None where there may be no more."""
        if self._is_ending or len(self._tasks) >= self._limits.contexts:
            return None
        context = self._contexts[name] = self._open(name, message)
        task = asyncio.create_task(self._speak(context))
        self._tasks[task] = (name, context)
        task.add_done_callback(self._left)
        return context

    async def _speak(self, context: Context) -> None:
        try:
            await context.run()
        except OrpheusCloneError as error:
            code = POLICY if isinstance(error, DataError) else INTERNAL
            await context.fail(error, code)
            if self._is_single:
                self._end(Goodbye(code, "the text could not be spoken"))

    async def _close_context(self, name: str) -> None:
        context = self._contexts.pop(name, None)
        if context is not None and context.is_flushed:
            context.end()
            return
        cut = {task: context for task, (of, context) in self._tasks.items() if of == name}
        await _cancelled(cut)
        for context in cut.values():
            await context.final()

    async def _close_socket(self) -> None:
        for name in list(self._contexts):
            await self._close_context(name)
        # Not before: the last task to go would end the socket without a word.
        self._is_ending = True
        if not self._tasks:
            self._end(Goodbye(NORMAL, ""))

    async def _overflow(self, name: str) -> None:
        """Text is never dropped in silence: the context that cannot hold it ends."""
        context = self._contexts.pop(name)
        await _cancelled([task for task, (_, of) in self._tasks.items() if of is context])
        most = self._limits.buffer_characters
        error = DataError(f"a context holds {most} characters that are not spoken yet")
        await context.fail(error, POLICY)
        if self._is_single:
            self._end(Goodbye(POLICY, "too much text"))

    async def _charge(self, text: str) -> None:
        most = self._limits.characters_per_second
        if not self._characters.allows(min(max(len(text), LEAST_CHARACTERS), most)):
            least = f"a message counts as {LEAST_CHARACTERS} at least"
            await self._refuse(f"more than {most} characters a second; {least}", is_last=True)

    async def _control(self) -> None:
        if not self._controls.allows():
            most = self._limits.control_messages_per_second
            await self._refuse(f"more than {most} messages a second without text", is_last=True)

    async def _refuse(self, why: str, *, is_last: bool) -> None:
        await self.send({"error": why, "code": POLICY})
        if is_last:
            self._end(Goodbye(POLICY, why[:100]))

    def _left(self, task: asyncio.Task[None]) -> None:
        name, context = self._tasks.pop(task)
        if self._contexts.get(name) is context:
            del self._contexts[name]
        self._check(task)
        if self._is_ending and not self._tasks:
            self._end(Goodbye(NORMAL, ""))

    def _check(self, task: asyncio.Task[None]) -> None:
        """A bug in a task ends the socket, with its traceback in the log."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._over.done():
            self._over.set_exception(error)

    def _end(self, goodbye: Goodbye) -> None:
        if not self._over.done():
            self._over.set_result(goodbye)


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Once they have let go of all they held."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
