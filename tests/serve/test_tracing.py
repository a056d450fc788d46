"""A session's trace: one id over all nodes, and spans where somebody is named to send them to."""

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.codec.snac import Codec
from orpheus_clone.models import BaseModel
from orpheus_clone.serve import tracing
from orpheus_clone.serve.tracing import Traced
from tests.serve.talking import Talker, talking
from tests.servers import answer, listening

TRACE, PARENT_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CLIENTS = {"traceparent": f"00-{TRACE}-{PARENT_SPAN}-01", "tracestate": "rojo=1"}


class Collector:
    """What an OpenTelemetry collector has got."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.url = ""

    def named(self, name: str) -> list[Span]:
        """The spans of that name, the first that began first."""
        found = [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            if span.name == name
        ]
        return sorted(found, key=lambda span: span.start_time_unix_nano)

    def only(self, name: str) -> Span:
        """The one span of that name."""
        (span,) = self.named(name)
        return span

    @property
    def resource(self) -> dict[str, str]:
        attributes = self.requests[0].resource_spans[0].resource.attributes
        return {attribute.key: attribute.value.string_value for attribute in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that speaks OTLP over HTTP."""
    collector = Collector()

    class Traces(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            collector.requests.append(ExportTraceServiceRequest.FromString(body))
            answer(self, 200)

    with listening(Traces) as collector.url:
        yield collector


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """One that a node is told to send its spans to."""
    with collecting() as started:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", started.url)
        yield started


async def ask(method: str = "POST", **headers: str) -> dict[str, str]:
    """What a traced application would send on to another node."""
    app = FastAPI()
    app.add_middleware(Traced)

    @app.api_route("/v1/x", methods=["GET", "POST"])
    async def sent_on() -> dict[str, str]:
        with tracing.span("carry", node="node-b"):
            return tracing.headers()

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        answer = await client.request(method, "/v1/x", headers=headers)
    told: dict[str, str] = answer.json()
    return told


async def test_without_spans_a_clients_trace_goes_on_as_it_came(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await ask(**CLIENTS) == CLIENTS
    assert await ask("GET", **CLIENTS) == {}, "who only looks begins no session"


@pytest.mark.parametrize(
    "given",
    ["", "nonsense", f"00-{'0' * 32}-{PARENT_SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", TRACE.upper()],
)
async def test_a_session_without_a_trace_gets_one_of_its_own(given: str) -> None:
    headers = {"traceparent": given, "tracestate": "rojo=1"} if given else {}
    first, second = [(await ask(**headers)) for _ in range(2)]
    assert set(first) == {"traceparent"}
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", first["traceparent"])
    assert first != second


async def test_spans_hang_on_the_clients_and_the_next_nodes_hang_on_ours(
    collector: Collector,
) -> None:
    with tracing.exporting("node-a"):
        told = await ask(**CLIENTS)
    session, carry = collector.only("session"), collector.only("carry")
    assert (session.trace_id.hex(), session.parent_span_id.hex()) == (TRACE, PARENT_SPAN)
    assert (carry.trace_id.hex(), carry.parent_span_id) == (TRACE, session.span_id)
    assert [(a.key, a.value.string_value) for a in carry.attributes] == [("node", "node-b")]
    assert told == {**CLIENTS, "traceparent": f"00-{TRACE}-{carry.span_id.hex()}-01"}
    assert collector.resource["service.name"] == "orpheus-clone"
    assert collector.resource["service.instance.id"] == "node-a"


async def test_the_environment_names_the_service(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "voices")
    with tracing.exporting("node-a"):
        await ask()
    assert collector.resource["service.name"] == "voices"
    assert collector.only("session").parent_span_id == b""


async def test_a_session_of_a_node_has_its_first_audio_in_its_trace(
    collector: Collector, codec: Codec, base: BaseModel, tmp_path: Path
) -> None:
    body = {"model": "nano", "input": "Hello.", "voice": "ada", "response_format": "pcm"}
    with tracing.exporting("node-a"):
        async with (
            talking(Talker(), codec, base, tmp_path) as address,
            httpx.AsyncClient(base_url=f"http://{address}") as http,
        ):
            (await http.post("/v1/audio/speech", json=body, headers=CLIENTS)).raise_for_status()
    session, placement, first = map(collector.only, ("session", "placement", "first audio"))
    assert {span.trace_id.hex() for span in (session, placement, first)} == {TRACE}
    assert placement.parent_span_id == first.parent_span_id == session.span_id
    assert session.start_time_unix_nano <= first.start_time_unix_nano < first.end_time_unix_nano


async def test_a_session_that_is_carried_is_one_trace_over_both_nodes(
    collector: Collector,
    codec: Codec,
    base: BaseModel,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    body = {"model": "nano", "input": "Hello.", "voice": "ada", "response_format": "pcm"}
    lives, dead, registry = Talker(), Talker(), MemoryRegistry()
    dead.lives = False
    with tracing.exporting("both"):
        async with (
            talking(lives, codec, base, tmp_path, registry=registry),
            talking(dead, codec, base, tmp_path, registry=registry) as address,
            httpx.AsyncClient(base_url=f"http://{address}") as http,
        ):
            (await http.post("/v1/audio/speech", json=body, headers=CLIENTS)).raise_for_status()
    asked, spoke = collector.named("session")
    carry, first = collector.only("carry"), collector.only("first audio")
    assert {span.trace_id.hex() for span in (asked, spoke, carry, first)} == {TRACE}
    assert spoke.parent_span_id == carry.span_id
    assert first.parent_span_id == spoke.span_id
    assert "session of another node's client: over" in caplog.text


def test_nothing_of_opentelemetry_is_imported_where_nobody_asks_for_it() -> None:
    script = (
        "import sys, orpheus_clone.serve.run; print([m for m in sys.modules if 'telemetry' in m])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    assert done.stdout == "[]\n"
