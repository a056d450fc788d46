"""A voice as `voices` lists it, from a store or from a node."""

from dataclasses import asdict
from typing import Any

from orpheus_clone.bundle import VoiceCard
from orpheus_clone.store.pointer import Pointer


def listed(pointer: Pointer, card: VoiceCard | None = None) -> dict[str, Any]:
    """What a name means, and what its card says where that can be read."""
    entry = {
        "id": pointer.voice,
        "kind": "clone",
        "bundle": pointer.current,
        "canary": asdict(pointer.canary) if pointer.canary else None,
    }
    if card is None:
        return entry
    return entry | {
        "language": card.language,
        "base": card.base,
        "proof": card.proof,
        "measured_on": card.measured_on,
        "consent": card.consent_line,
        "watermark": card.watermark,
    }
