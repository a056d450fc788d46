"""What is checked before anything of a request is read: its key, and how much it sends.

    no key, or another's   401      more than the key's sessions   429, and when to try again
    not for this           403      more than fits                 413
    no keys here, and another's web page   403 (strangers.py)

The framework reads a whole body before it asks who is there, so all of it is checked outside of it.
A socket is refused before it is accepted; its messages have limits of their own. What a request
says of itself in the headers between nodes is dropped, unless it bears the node secret.
"""

import asyncio
import contextlib
from collections.abc import Mapping

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orpheus_clone import bundle
from orpheus_clone.errors import Busy
from orpheus_clone.serve import refusals
from orpheus_clone.serve.auth import BETWEEN_NODES, SECRET_HEADER, Keys, NodeSecret, wanted_scopes
from orpheus_clone.serve.headers import SESSION
from orpheus_clone.serve.keys import Scope as KeyScope
from orpheus_clone.serve.metrics import Metrics
from orpheus_clone.serve.strangers import stranger

GUARDED = "/v1/"
KEY = "orpheus_clone.key"
"""In a request's scope: the key that it came with, or None."""
LARGEST_BODY = 64 * 2**10
"""Bytes of a request; OpenAI's longest text is 4096 characters."""
LARGEST_BUNDLE = sum(bundle.LARGEST.values()) + 64 * 2**10
"""Bytes of a bundle's files, and of the tar around them."""
GONE_SECONDS = 1.0
_BUNDLES = "/v1/voices/"
_OURS = "x-orpheus-clone-"
"""How headers between nodes begin."""
_CLIENTS = frozenset({SESSION})
"""Those that a client may send too."""


class Gate:
    """ASGI middleware; see the module docstring."""

    def __init__(
        self, app: ASGIApp, keys: Keys, secret: NodeSecret, metrics: Metrics, url: str
    ) -> None:
        """`url` is how other nodes reach this one."""
        self._app, self._url = app, url
        self._keys, self._secret, self._metrics = keys, secret, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        with contextlib.ExitStack() as session:
            scope = {**scope, KEY: None}
            refusal = self._refusal(scope, session)
            if refusal is not None:
                self._metrics.rejected.labels(str(refusal.status_code)).inc()
            if scope["type"] == "websocket":
                await _until_gone(refusal or self._app, scope, receive, send)
            else:
                await self._answer(refusal, scope, receive, send)

    def _refusal(self, scope: Scope, session: contextlib.ExitStack) -> JSONResponse | None:
        """None for a request that may pass; then it is one of its key's until `session` ends."""
        headers = _headers(scope)
        if not self._keys.are_set and (why := stranger(headers, self._url)):
            return refusals.answer(403, why)
        if not scope["path"].startswith(GUARDED):
            return None
        scope[KEY] = key = self._keys.find(authorization(headers))
        if self._secret.is_set:
            if self._secret.accepts(headers):
                return None
            if SECRET_HEADER in headers:
                return _unknown("the node secret is another; all nodes of a fleet have one")
            if scope["path"].startswith(BETWEEN_NODES):
                return _unknown("this is for the nodes of the fleet")
            scope["headers"] = [(n, v) for n, v in scope["headers"] if _is_a_clients(n)]
        if not self._keys.are_set:
            return None
        if scope["path"].startswith(BETWEEN_NODES):
            return _unknown("this is for the nodes of a fleet, which have a secret")
        if key is None:
            return _unknown(_no_key(authorization(headers)))
        wanted = wanted_scopes(scope["path"])
        if not set(wanted) & set(key.scopes):
            may, must = ", ".join(key.scopes), " or ".join(wanted)
            return refusals.answer(403, f"the key {key.name!r} is for {may}, and not for {must}")
        if KeyScope.SPEAK in wanted and (scope["type"] == "websocket" or scope["method"] == "POST"):
            try:
                session.enter_context(self._keys.session(key))
            except Busy as error:
                return refusals.answer(429, str(error), "Busy", error.retry_after_s)
        return None

    async def _answer(
        self, refusal: JSONResponse | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Of a request that is not a socket."""
        limit = LARGEST_BUNDLE if scope["path"].startswith(_BUNDLES) else LARGEST_BODY
        length = _headers(scope).get("content-length", "0")
        if refusal is None and (not length.isdigit() or int(length) > limit):
            refusal = refusals.answer(413, f"a request here has at most {limit} bytes")
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, _counted(receive, limit), send)


def authorization(headers: Mapping[str, str]) -> str | None:
    """The key as OpenAI's clients send it, or as ElevenLabs' do."""
    if "xi-api-key" in headers and "authorization" not in headers:
        return f"Bearer {headers['xi-api-key']}"
    return headers.get("authorization")


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _is_a_clients(name: bytes) -> bool:
    text = name.decode("latin-1").lower()
    return not text.startswith(_OURS) or text in _CLIENTS


def _no_key(given: str | None) -> str:
    known = "this key is not one of the node's; " if given else ""
    return f"{known}a key is wanted: Authorization: Bearer KEY, or xi-api-key: KEY"


def _unknown(message: str) -> JSONResponse:
    refusal = refusals.answer(401, message)
    refusal.headers["www-authenticate"] = "Bearer"
    return refusal


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
