"""What is checked before anything of a request is read: its key, and how much it sends.

The framework reads a whole body before it asks who is there, so both are checked outside of it. A
socket is refused before it is accepted; its messages have limits of their own.
"""

import asyncio
import contextlib
from collections.abc import Mapping

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orpheus_clone import bundle
from orpheus_clone.serve import refusals
from orpheus_clone.serve.auth import Keys

GUARDED = "/v1/"
LARGEST_BODY = 64 * 2**10
"""Bytes of a request; OpenAI's longest text is 4096 characters."""
LARGEST_BUNDLE = sum(bundle.LARGEST.values()) + 64 * 2**10
"""Bytes of a bundle's files, and of the tar around them."""
_BUNDLES = "/v1/voices/"
GONE_SECONDS = 1.0


class Gate:
    """ASGI middleware: 401 without an accepted key, 413 for too much."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        if scope["type"] == "lifespan" or not scope["path"].startswith(GUARDED):
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        app = self._app
        if not self._keys.accept(authorization(headers)):
            app = _refusal(401, "a key is wanted: Authorization: Bearer KEY, or xi-api-key: KEY")
        if scope["type"] == "websocket":
            await _until_gone(app, scope, receive, send)
            return
        if app is not self._app:
            await app(scope, receive, send)
            return
        limit = LARGEST_BUNDLE if scope["path"].startswith(_BUNDLES) else LARGEST_BODY
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > limit:
            await _refusal(413, f"a request here has at most {limit} bytes")(scope, receive, send)
            return
        await self._app(scope, _counted(receive, limit), send)


def authorization(headers: Mapping[str, str]) -> str | None:
    """The key as OpenAI's clients send it, or as ElevenLabs' do."""
    if "xi-api-key" in headers and "authorization" not in headers:
        return f"Bearer {headers['xi-api-key']}"
    return headers.get("authorization")


async def _until_gone(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """A socket's application; of one that was refused, until the connection is closed.

    uvicorn 0.54 takes a refused handshake for an unfinished one until then, and logs an error.
    """
    is_refused = False

    async def noted(message: Message) -> None:
        nonlocal is_refused
        is_refused = is_refused or message["type"] == "websocket.http.response.start"
        await send(message)

    await app(scope, receive, noted)
    goodbyes = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GONE_SECONDS):
            while is_refused and goodbyes < 2:  # one of the answer, one of the connection
                goodbyes += (await receive())["type"] == "websocket.disconnect"


def _counted(receive: Receive, limit: int) -> Receive:
    """The same messages, until they hold more than `limit` bytes: no length need be declared."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise HTTPException(413, f"a request here has at most {limit} bytes")
        return message

    return counted


def _refusal(status: int, message: str) -> JSONResponse:
    refusal = refusals.answer(status, message)
    if status == 401:
        refusal.headers["www-authenticate"] = "Bearer"
    return refusal
