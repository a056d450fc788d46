"""Errors as a client gets them: OpenAI's shape, {"error": {"message", "type", "code"}}.

The same answer refuses a request and, before it is accepted, a socket.
"""

from typing import Any

from fastapi.responses import JSONResponse
from starlette.websockets import WebSocket

from orpheus_clone.errors import (
    ArtifactError,
    Busy,
    DataError,
    EngineError,
    OrpheusCloneError,
    RecipeError,
    UnknownVoice,
)

RETRY_AFTER_SECONDS = 2

_SHAPE = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "code": {"type": "integer"},
            },
        }
    },
}
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {"description": said, "content": {"application/json": {"schema": _SHAPE}}}
    for status, said in {
        400: "The request cannot be understood, or its text not be spoken.",
        401: "A key is wanted.",
        403: "The key is not for this; or there are no keys, and another site's page asks.",
        404: "There is no such voice.",
        409: "The voice cannot be used as it is.",
        413: "The request is too large.",
        429: "The key has as many sessions as it may have.",
        503: "The node cannot do it now.",
    }.items()
}
"""What the OpenAPI description says of every route."""

_BY_KIND = (
    (UnknownVoice, 404),
    (DataError, 400),
    (RecipeError, 400),
    (ArtifactError, 409),
    (EngineError, 503),
)


def of(error: OrpheusCloneError) -> JSONResponse:
    """What a deliberate error is answered with."""
    status = next((status for kind, status in _BY_KIND if isinstance(error, kind)), 500)
    retry_after_s = error.retry_after_s if isinstance(error, Busy) else RETRY_AFTER_SECONDS
    return answer(status, str(error), type(error).__name__, retry_after_s)


def answer(
    status: int,
    message: str,
    kind: str = "invalid_request_error",
    retry_after_s: int = RETRY_AFTER_SECONDS,
) -> JSONResponse:
    """An error; with 429 and 503 comes when to try again."""
    headers = {"retry-after": str(retry_after_s)} if status in (429, 503) else None
    body = {"error": {"message": message, "type": kind, "code": status}}
    return JSONResponse(body, status, headers)


async def deny(socket: WebSocket, refusal: JSONResponse) -> None:
    """Answer a handshake with an error instead of accepting it."""
    await socket.send_denial_response(refusal)
