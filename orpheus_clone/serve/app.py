"""The HTTP interface of a node.

    POST /v1/audio/speech            sound (OpenAI's interface)          openai.py
    GET  /v1/models                  the base model                      openai.py
    POST /v1/text-to-speech/{voice}  sound (ElevenLabs' interface)       elevenlabs.py
    WS   …/stream-input …/multi-stream-input                             elevenlabs.py
    GET  /v1/voices                  their names                         elevenlabs.py
    GET  /v1/audio/voices            what can be spoken with             voices.py
    WS   /v1/nodes/session           sessions of other nodes' clients    hosting.py
    GET  /v1/nodes                   the fleet, and who speaks what      fleet.py
    POST /v1/voices/{bundle}         publish: a tar of a bundle          releases.py
    POST /v1/voices/{voice}/promote /v1/voices/{voice}/rollback          releases.py
    DELETE /v1/voices/{voice}        unpublish                           releases.py
    GET  /v1/voices/{voice}/history  who moved its pointer               releases.py
    GET  / and /page/…               the page, without a key             page.py
    GET  /livez /readyz /startupz /metrics     without a key             here

Every error is OpenAI's shape, {"error": {"message", "type", "code"}}.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from orpheus_clone import __version__
from orpheus_clone.cluster.state import Phase
from orpheus_clone.errors import EngineDead, OrpheusCloneError
from orpheus_clone.serve import elevenlabs, fleet, hosting, openai, page, refusals, releases, voices
from orpheus_clone.serve.admission import GONE
from orpheus_clone.serve.gate import Gate
from orpheus_clone.serve.proxy import Proxy
from orpheus_clone.serve.service import Service
from orpheus_clone.serve.tracing import Traced


def create_app(service: Service) -> FastAPI:
    """The application around a node whose engine runs."""
    proxy = Proxy(service)
    speaker = service.node.speaker
    here = {"version": __version__, "base": speaker.base.name, **asdict(speaker.engine.info)}
    service.metrics.info.info(here)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        yield
        await proxy.close()
        await service.links.close()

    app = FastAPI(
        title="orpheus-clone",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=refusals.DOCUMENTED,
    )
    app.add_middleware(
        Gate,
        keys=service.keys,
        secret=service.secret,
        metrics=service.metrics,
        url=service.membership.me.url,
    )
    app.add_middleware(Traced)
    app.include_router(openai.routes(service))
    app.include_router(elevenlabs.routes(service))
    app.include_router(hosting.routes(service))
    app.include_router(voices.routes(service))
    app.include_router(fleet.routes(service))
    app.include_router(releases.routes(service, proxy))
    page.add(app)

    @app.exception_handler(OrpheusCloneError)
    async def deliberate(_: Request, error: OrpheusCloneError) -> JSONResponse:
        service.metrics.rejected.labels(type(error).__name__).inc()
        return refusals.of(error)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> Response:
        """A client that left in the middle of its body: nobody is there to be told."""
        return Response(status_code=499)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        service.metrics.rejected.labels(str(error.status_code)).inc()
        answer = refusals.answer(error.status_code, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        service.metrics.rejected.labels("400").inc()
        said = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
        return refusals.answer(400, said)

    @app.get("/livez")
    async def livez() -> Response:
        """503 once the engine is gone, or hangs: only a restart of the node helps."""
        return _health(service)

    @app.get("/readyz")
    async def readyz() -> Response:
        """200 while the node takes new sessions, be there room for them or not."""
        if (phase := service.membership.me.phase) is not Phase.READY:
            return refusals.answer(503, f"this node is {phase}; others take new sessions", "Busy")
        return _health(service)

    @app.get("/startupz")
    async def startupz() -> Response:
        """200 once the node has come up, whatever has become of it since."""
        return JSONResponse({"status": "ok"})

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Figures in Prometheus's text format."""
        _look(service)
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    return app


def _look(service: Service) -> None:
    """Figures that are not counted as things happen."""
    metrics, members, load = service.metrics, service.membership, service.node.load()
    metrics.is_ready.set(service.node.is_alive() and members.me.phase is Phase.READY)
    metrics.nodes.set(len(members.nodes()))
    metrics.ring_version.set(members.version)
    metrics.live_sessions.set(load.sessions)
    metrics.streams.set(service.admission.streams)
    metrics.capacity.set(service.admission.capacity)
    metrics.adapter_slots.set(load.slots)
    metrics.adapter_streams.clear()
    for bundle, count in load.resident.items():
        metrics.adapter_streams.labels(bundle).set(count)


def _health(service: Service) -> Response:
    if service.node.is_alive():
        return JSONResponse({"status": "ok"})
    return refusals.answer(503, GONE, EngineDead.__name__)
