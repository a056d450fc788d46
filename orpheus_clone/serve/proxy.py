"""Carry a request that moves a voice to the node that owns it, so that one node at a time decides.

A request travels at most once: the header HOP, believed of a node of the fleet only, marks one that
another node sent. A node that does not answer is passed over for the next in the voice's order of
preference, and when that is this node, it answers itself. Sessions, which speak, are `placed`.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

import httpx
from fastapi import Request

from orpheus_clone.errors import NodeError
from orpheus_clone.serve import tracing
from orpheus_clone.serve.gate import KEY
from orpheus_clone.serve.headers import HOP, KEY_NAME, NODE
from orpheus_clone.serve.keys import Key
from orpheus_clone.serve.service import Service
from orpheus_clone.serve.streaming import ClosingResponse

log = logging.getLogger(__name__)

ANSWER_S = 60.0
"""Within which the owner answers, a bundle loaded and probed included."""
_RETURNED = ("content-type", NODE, "retry-after")


class Proxy:
    """Routes requests of a voice to its owner."""

    def __init__(self, service: Service) -> None:
        self._membership, self._secret = service.membership, service.secret
        # As many connections as there are requests, and straight to the other node.
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(ANSWER_S, connect=2.0),
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
            verify=service.trust,
        )

    async def to_owner(
        self, request: Request, voice: str, *, is_repeatable: bool = True
    ) -> ClosingResponse | None:
        """The owner's answer, or None if this node is to answer.

        A node that fails before it answers is passed over too, unless the request must not reach
        two nodes.
        """
        if HOP in request.headers and self._secret.accepts(request.headers):
            return None
        body = await request.body()
        for node in self._membership.preference(voice):
            if node.id == self._membership.me.id:
                return None
            try:
                return await self._send(request, body, node.url)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                log.warning("node %s at %s accepts no connection: %s", node.id, node.url, error)
            except httpx.TransportError as error:
                log.warning("node %s at %s failed before it answered: %s", node.id, node.url, error)
                if not is_repeatable:
                    raise NodeError(f"node {node.id} failed before it answered") from error
        return None

    async def close(self) -> None:
        """Close the connections to other nodes."""
        await self._http.aclose()

    async def _send(self, request: Request, body: bytes, node_url: str) -> ClosingResponse:
        key: Key | None = request.scope.get(KEY)
        headers = tracing.headers() | self._secret.headers() | {HOP: self._membership.me.id}
        if key is not None:  # its name is for the log; the node secret lets the request in
            headers[KEY_NAME] = key.name
        outgoing = self._http.build_request(
            request.method, node_url.rstrip("/") + _raw_path(request), content=body, headers=headers
        )
        response = await self._http.send(outgoing, stream=True)
        returned = {name: response.headers[name] for name in _RETURNED if name in response.headers}
        return ClosingResponse(_body(response), status_code=response.status_code, headers=returned)


def _raw_path(request: Request) -> str:
    """Path and query as the client wrote them: a decoded path may mean another route."""
    raw: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return (raw + b"?" + query if query else raw).decode("ascii")


async def _body(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """The answer's bytes as they come; closing this hangs up on the owner."""
    async with aclosing(response):
        async for block in response.aiter_raw():
            yield block
