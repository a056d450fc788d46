"""`GET /v1/audio/voices`: what can be spoken with here, and what was proved of it."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from orpheus_clone.bundle import VoiceCard
from orpheus_clone.engine.base import EngineInfo
from orpheus_clone.errors import ArtifactError, MachineError, StoreError
from orpheus_clone.serve.service import Service
from orpheus_clone.store import Pointer
from orpheus_clone.store.listing import listed


def routes(service: Service) -> APIRouter:
    """GET /v1/audio/voices."""
    router = APIRouter()

    @router.get("/v1/audio/voices")
    async def voices() -> dict[str, Any]:
        return {"voices": await service.node.ask(_voices, service)}

    return router


def _voices(service: Service) -> list[dict[str, Any]]:
    base = service.node.speaker.base
    stock = [{"id": name, "kind": "stock", "language": base.language} for name in base.voices]
    return stock + [_cloned(service, *named) for named in service.node.published()]


def _cloned(service: Service, pointer: Pointer, error: str) -> dict[str, Any]:
    """One published voice; a broken one is listed as such, since hiding it helps nobody."""
    if error:
        return listed(pointer) | {"error": error}
    try:
        card = service.node.card(pointer)
    except (ArtifactError, MachineError, StoreError) as error:
        return listed(pointer) | {"error": str(error)}
    proof = proof_here(card, service.node.speaker.engine.info)
    return listed(pointer, card) | {"proof": proof, "gates": [_shown(gate) for gate in card.gates]}


def _shown(gate: dict[str, Any]) -> dict[str, Any]:
    """What was measured for a gate; the value is None where nothing could be."""
    return {name: gate.get(name) for name in ("name", "value", "unit", "status")}


def proof_here(card: VoiceCard, info: EngineInfo) -> str:
    """The card's claim, here: proved on other hardware, engine or precision is unproven here."""
    here = asdict(info)
    if card.proof == "proven" and here != {name: card.measured_on.get(name) for name in here}:
        return "unproven here"
    return card.proof
