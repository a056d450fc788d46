"""uvicorn as a node wants it: it says when it answers, and stops when nobody is heard any more.

    SIGTERM, Ctrl-C ─▶ drain: new sessions are refused, live ones go on ─▶ nobody is left,
                         │                                          or the time is up ─▶ close
                         └─ a second signal ─────────────────────────────────────────────▲

While it drains it answers, so that whoever comes is told to go to another node. uvicorn alone would
close every socket at the signal.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from types import FrameType

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

DRAIN_SECONDS = 25.0
"""For what is being heard; Kubernetes ends a pod 30 s after it asked it to stop."""
CLOSE_SECONDS = 2
"""For what still runs after that."""
RESTARTS = 1012
"""RFC 6455's code of a server that goes, as registered: come back, or to another."""
_LOOK_SECONDS = 0.1

Step = Callable[[], Awaitable[None]]


class Sockets(WebSocketsSansIOProtocol):
    """uvicorn's, which says why it closes."""

    def shutdown(self) -> None:
        """Close with a reason."""
        if self.handshake_complete and not self.close_sent:
            reason = "this node stops; open another socket"
            self.queue.put_nowait(
                {"type": "websocket.disconnect", "code": RESTARTS, "reason": reason}
            )
            self.conn.send_close(RESTARTS, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        super().shutdown()


class DeafServer(uvicorn.Server):
    """uvicorn that leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


@dataclass(frozen=True)
class Steps:
    """What is done as a server begins and ends."""

    started: Step
    """It answers."""
    draining: Step
    """It was told to stop: nothing new is to begin."""
    drain_seconds: float = DRAIN_SECONDS


class Server(uvicorn.Server):
    """See the module docstring."""

    def __init__(self, config: uvicorn.Config, steps: Steps) -> None:
        super().__init__(config)
        self._steps = steps

    def stop(self) -> None:
        """As a signal does."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM or Ctrl-C, and only stop: uvicorn's own would raise them again
        afterwards, and the engine would never be closed.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The second signal, whichever, waits for nobody."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer, then say so."""
        await super().startup(sockets)
        await self._steps.started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what is being heard end, then close."""
        await self._steps.draining()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._steps.drain_seconds):
                while self._is_awaited():  # noqa: ASYNC110  uvicorn tells nobody
                    await asyncio.sleep(_LOOK_SECONDS)
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn would leave the application to be cancelled
            await self.lifespan.shutdown()

    def _is_awaited(self) -> bool:
        """Whether a request or a socket is being answered, and should be to its end."""
        return bool(self.server_state.tasks) and not self.force_exit
