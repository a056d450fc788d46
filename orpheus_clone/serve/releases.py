"""Releasing over HTTP: publish, promote, roll back, unpublish, and who did it.

Each request is carried to the node that owns the voice, so that one node at a time decides; that no
two moves meet is the store's business all the same.
"""

import asyncio
import io
import tarfile
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import JSONResponse, Response

from orpheus_clone import bundle, disk, layout
from orpheus_clone.errors import ArtifactError, UnknownVoice
from orpheus_clone.serve.gate import KEY
from orpheus_clone.serve.headers import KEY_NAME
from orpheus_clone.serve.keys import Key
from orpheus_clone.serve.proxy import Proxy
from orpheus_clone.serve.service import Service
from orpheus_clone.store import pointer

Share = Annotated[float | None, Query(ge=0, le=1)]
Text = Annotated[str | None, Query(max_length=500)]


def routes(service: Service, proxy: Proxy) -> APIRouter:
    """See `app`; what is moved is said in the answer."""
    router = APIRouter()
    node = service.node

    @router.post("/v1/voices/{name}")
    async def publish(
        name: str, request: Request, share: Share = None, by: Text = None, why: Text = None
    ) -> Response:
        if not layout.is_bundle_name(name):
            raise HTTPException(400, f"{name!r} is not voice@digest")
        carried = await proxy.to_owner(request, name.partition("@")[0])
        if carried is not None:
            return carried
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            await asyncio.to_thread(unpack, await request.body(), path)
            accepted = await node.accept(path, share, _signed(request, by), why)
        card = accepted.card
        return JSONResponse({"voice": card.voice, "bundle": accepted.name, "proof": card.proof})

    @router.post("/v1/voices/{voice}/{did}")
    async def move(
        voice: str,
        did: Literal["promote", "rollback"],
        request: Request,
        by: Text = None,
        why: Text = None,
    ) -> Response:
        layout.checked_voice_name(voice)
        carried = await proxy.to_owner(request, voice, is_repeatable=False)
        if carried is not None:
            return carried
        current = await node.move(voice, did, _signed(request, by), why)
        return JSONResponse({"voice": voice, "bundle": current})

    @router.delete("/v1/voices/{voice}")
    async def unpublish(
        voice: str, request: Request, forget: bool = False, by: Text = None, why: Text = None
    ) -> Response:
        layout.checked_voice_name(voice)
        carried = await proxy.to_owner(request, voice, is_repeatable=False)
        if carried is not None:
            return carried
        await node.unpublish(voice, forget, _signed(request, by), why)
        return JSONResponse({"voice": voice, "bundle": None})

    @router.get("/v1/voices/{voice}/history")
    async def history(voice: str) -> dict[str, Any]:
        moves = (await node.ask(node.store.see, voice)).moves
        if not moves:
            raise UnknownVoice(f"nothing was ever published here as {voice!r}")
        return {"voice": voice, "moves": pointer.history(moves)}

    return router


def _signed(request: Request, by: str | None) -> str:
    """Who says that he moves a pointer, and the name of the key that he showed to a node."""
    key: Key | None = request.scope.get(KEY)
    name = key.name if key else request.headers.get(KEY_NAME)
    host = request.client.host if request.client else "somebody"
    return (by or host) + (f" (key {name})" if name else "")


def unpack(packed: bytes, path: Path) -> None:
    """A bundle's files from a tar into the new directory `path`; anything else is refused."""
    with disk.disk_errors(path):
        path.mkdir()
        try:
            with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
                for entry in tar:
                    _unpack(tar, entry, path)
        except tarfile.TarError as error:
            raise ArtifactError(f"the body is not a tar archive: {error}") from error


def _unpack(tar: tarfile.TarFile, entry: tarfile.TarInfo, path: Path) -> None:
    # A sparse entry is a terabyte in a kilobyte, and tarfile calls it regular too.
    is_plain = entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not entry.sparse
    content = tar.extractfile(entry) if is_plain else None
    if entry.name not in bundle.FILES or content is None:
        raise ArtifactError(f"the archive holds {entry.name!r}, which no bundle has")
    if (path / entry.name).exists():
        raise ArtifactError(f"the archive holds {entry.name!r} twice")
    bundle.check_size(entry.name, entry.size, "the archive")
    (path / entry.name).write_bytes(content.read())
