"""Streaming answers that stop the work behind them when the client hangs up, or reads nothing."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack

from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from orpheus_clone.errors import OrpheusCloneError
from orpheus_clone.serve.limits import Limits

log = logging.getLogger(__name__)


class ClosingResponse(StreamingResponse):
    """A streamed body whose generator is closed at once however the answer ends."""

    def __init__(
        self,
        body: AsyncGenerator[bytes, None],
        *,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        stall_s: float = Limits.write_stall_seconds,
        held: AsyncExitStack | None = None,
    ) -> None:
        """A client that takes nothing for `stall_s` is left, its answer unfinished.

        What is `held` is let go at the end, even of a body that was never begun.
        """
        super().__init__(body, status_code, headers, media_type)
        self._body = body
        self._stall_s = stall_s
        self._held = held or AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the body; see the class."""

        async def send_soon(message: Message) -> None:
            async with asyncio.timeout(self._stall_s):
                await send(message)

        try:
            await super().__call__(scope, receive, send_soon)
        except OrpheusCloneError as error:
            log.error("an answer ends unfinished: %s", error)
        except TimeoutError:
            log.warning("a client took nothing for %s s; its answer ends unfinished", self._stall_s)
        finally:
            await self._body.aclose()
            await self._held.aclose()
