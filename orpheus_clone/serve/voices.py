"""Voices over HTTP: list, publish, roll back."""

import asyncio
import io
import re
import tarfile
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from orpheus_clone import bundle, layout
from orpheus_clone.engine.base import EngineInfo
from orpheus_clone.errors import ArtifactError
from orpheus_clone.serve.proxy import Proxy
from orpheus_clone.serve.service import Service

_BUNDLE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}@[0-9a-f]{12}")


def routes(service: Service, proxy: Proxy) -> APIRouter:
    """GET /v1/audio/voices, POST /v1/voices/{bundle}, POST /v1/voices/{voice}/rollback."""
    router = APIRouter()

    @router.get("/v1/audio/voices")
    async def voices() -> dict[str, Any]:
        return {"voices": await asyncio.to_thread(_voices, service)}

    @router.post("/v1/voices/{name}")
    async def publish(name: str, request: Request) -> Response:
        if not _BUNDLE_NAME.fullmatch(name):
            raise HTTPException(400, f"{name!r} is not voice@digest")
        carried = await proxy.to_owner(request, name.partition("@")[0])
        if carried is not None:
            return carried
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            await asyncio.to_thread(unpack, await request.body(), path)
            accepted = await service.node.accept(path)
        card = accepted.card
        return JSONResponse({"voice": card.voice, "bundle": accepted.name, "proof": card.proof})

    @router.post("/v1/voices/{voice}/rollback")
    async def rollback(voice: str, request: Request) -> Response:
        layout.checked_voice_name(voice)
        carried = await proxy.to_owner(request, voice, is_repeatable=False)
        if carried is not None:
            return carried
        return JSONResponse({"voice": voice, "bundle": await service.node.rollback(voice)})

    return router


def unpack(packed: bytes, path: Path) -> None:
    """A bundle's files from a tar into the new directory `path`; anything else is refused."""
    path.mkdir()
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
            for entry in tar:
                # A sparse entry is a terabyte in a kilobyte, and tarfile calls it regular too.
                is_plain = entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
                content = tar.extractfile(entry) if is_plain else None
                if entry.name not in bundle.FILES or content is None:
                    raise ArtifactError(f"the archive holds {entry.name!r}, which no bundle has")
                (path / entry.name).write_bytes(content.read())
    except tarfile.TarError as error:
        raise ArtifactError(f"the body is not a tar archive: {error}") from error


def _voices(service: Service) -> list[dict[str, Any]]:
    base = service.node.speaker.base
    stock = [{"id": name, "kind": "stock", "language": base.language} for name in base.voices]
    return stock + [_cloned(service, name) for name in service.node.store.voices()]


def _cloned(service: Service, name: str) -> dict[str, Any]:
    """One published voice; a broken one is listed as such, since hiding it helps nobody."""
    try:
        card = service.node.card(name)
    except ArtifactError as error:
        return {"id": name, "kind": "clone", "error": str(error)}
    return {
        "id": name,
        "kind": "clone",
        "language": card.language,
        "base": card.base,
        "bundle": service.node.store.current(name),
        "proof": proof_here(card, service.node.speaker.engine.info),
        "measured_on": card.measured_on,
        "consent": card.consent_line,
    }


def proof_here(card: bundle.VoiceCard, info: EngineInfo) -> str:
    """The card's claim, here: proved on other hardware, engine or precision is unproven here."""
    here = asdict(info)
    if card.proof == "proven" and here != {name: card.measured_on.get(name) for name in here}:
        return "unproven here"
    return card.proof
