"""A session's trace, over every node that it touches (W3C trace context, OpenTelemetry).

    client ─▶ session ┬ placement
                      ├ first audio
                      └ carry ─▶ session, at the node that speaks ─ first audio

Every session has a trace's id, which is its id in the logs too: the client's, or a new one. Spans
are only written where the OpenTelemetry variables name somebody to send them to
(OTEL_EXPORTER_OTLP_ENDPOINT), and only then is OpenTelemetry imported: `orpheus-clone[otel]`.
"""

import logging
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orpheus_clone import __version__
from orpheus_clone.serve import logs
from orpheus_clone.serve.auth import BETWEEN_NODES

VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PARENT, STATE = "traceparent", "tracestate"

_TRACED = "/v1/"
_WRITTEN = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_headers: ContextVar[Mapping[str, str]] = ContextVar("trace", default=MappingProxyType({}))
_tracer: Any = None
"""OpenTelemetry's, where spans are written."""

log = logging.getLogger(__name__)


def is_wanted() -> bool:
    """Whether somebody is named to send spans to."""
    return any(os.environ.get(name) for name in VARIABLES)


@contextmanager
def exporting(node_id: str) -> Iterator[None]:
    """Write spans for the length of the block, if they are wanted."""
    global _tracer
    if not is_wanted():
        yield
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME", "orpheus-clone")
    here = {"service.instance.id": node_id, "service.version": __version__}
    provider = TracerProvider(resource=Resource.create({"service.name": name, **here}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("orpheus_clone", __version__)
    try:
        yield
    finally:
        _tracer = None
        provider.shutdown()


@contextmanager
def span(name: str, **attributes: str) -> Iterator[None]:
    """A part of the session that takes as long as the block."""
    if _tracer is None:
        yield
        return
    with _tracer.start_as_current_span(name, attributes=attributes):
        yield


def lasted(name: str, seconds: float) -> None:
    """A part of the session that ends now and began so long ago."""
    if _tracer is not None:
        now = time.time_ns()
        _tracer.start_span(name, start_time=now - round(seconds * 1e9)).end(now)


def headers() -> dict[str, str]:
    """What a request to another node bears, for its spans to hang on this session's."""
    if _tracer is None:
        return dict(_headers.get())
    carrier: dict[str, str] = {}
    _propagator().inject(carrier)
    return carrier


class Traced:
    """ASGI middleware: each session has its trace, and a line in the log when it ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class. Who only looks (GET) begins nothing; what nodes open, `hosting` tells."""
        is_session = scope["type"] == "websocket" or scope.get("method", "GET") != "GET"
        if not is_session or not _is_a_clients(scope["path"]):
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), "nothing"

        async def noted(message: Message) -> None:
            nonlocal status
            status = _answer(message) or status
            await send(message)

        given = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        with session(given):
            try:
                await self._app(scope, receive, noted)
            finally:
                seconds = time.perf_counter() - began
                what = scope.get("method", "socket")
                log.info("%s %s: %s, %.2f s", what, scope["path"], status, seconds)


def _is_a_clients(path: str) -> bool:
    return path.startswith(_TRACED) and not path.startswith(BETWEEN_NODES)


@contextmanager
def session(given: Mapping[str, str]) -> Iterator[None]:
    """The session's span and id: what follows is a part of the client's trace, if it has one."""
    clients = _clients(given)
    mine = clients or {PARENT: f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}
    before = _headers.set(mine)
    try:
        if _tracer is None:
            with logs.session(mine[PARENT].split("-")[1]):
                yield
        else:
            with _begun(clients) as session_id, logs.session(session_id):
                yield
    finally:
        _headers.reset(before)


def _clients(given: Mapping[str, str]) -> dict[str, str]:
    """The trace that a client's headers name; empty if they name none."""
    named = {name: given.get(name, "") for name in (PARENT, STATE)}
    is_written = _WRITTEN.fullmatch(named[PARENT]) is not None
    return {name: value for name, value in named.items() if value} if is_written else {}


@contextmanager
def _begun(clients: Mapping[str, str]) -> Iterator[str]:
    """The session's span, as OpenTelemetry's current one; its trace's id."""
    from opentelemetry.trace import SpanKind, format_trace_id

    context = _propagator().extract(clients)
    with _tracer.start_as_current_span("session", context, SpanKind.SERVER) as begun:
        yield format_trace_id(begun.get_span_context().trace_id)


def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator()


def _answer(message: Message) -> str | None:
    """What a message says of how the request was answered; None if nothing."""
    kind = message["type"]
    if kind in ("http.response.start", "websocket.http.response.start"):
        return str(message["status"])
    if kind == "websocket.close":
        return f"closed with {message.get('code', 1000)}"
    return "accepted" if kind == "websocket.accept" else None
