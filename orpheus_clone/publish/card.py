"""The model card: what a bundle says of itself to a person, in the form that hubs show.

Everything in it stands in voice.json too; nothing here is judged by a machine.
"""

from typing import Any

import yaml

from orpheus_clone.bundle import VoiceCard

_PROOF = {
    "proven": "Every gate below was measured on the hardware named, and passed.",
    "overridden": "A gate failed, and somebody released it all the same: {reason}.",
    "unproven": "Some gates could not be measured; nobody has shown that this voice is good.",
}
_USE = """\
For speaking texts in this person's voice where the consent above covers it, through a node of
orpheus-clone that serves the base it was trained on. Not for passing as the person, and not for
any use that the licence of the base forbids. People who hear it should be told that it is made."""


def model_card(card: VoiceCard) -> str:
    """README.md of a bundle."""
    facts = yaml.safe_dump(_front_matter(card), sort_keys=False, allow_unicode=True)
    sections = [
        f"---\n{facts}---",
        f"# {card.voice}\n\nA LoRA voice for {card.base}, language {card.language}.",
        f"Consent: {card.consent_line}.\n\nWatermark: {card.watermark}.",
        f"## How it was trained\n\n{_pairs(card.trained)}",
        f"## What was proved\n\n{_PROOF[card.proof].format(reason=card.override_reason)}",
        f"{_gates(card.gates)}\n\n{_pairs(card.measured_on)}",
        f"## How it speaks\n\n{_pairs(card.sampling)}",
        f"## Base\n\n{card.base}, digest {card.base_digest}. Licence: {card.licence}.",
        f"## What it is for\n\n{_USE}",
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(card: VoiceCard) -> dict[str, Any]:
    return {
        "language": card.language,
        "license": "other",
        "license_name": card.licence,
        "library_name": "peft",
        "pipeline_tag": "text-to-speech",
        "tags": ["orpheus-clone", "lora", card.proof],
    }


def _gates(gates: list[dict[str, Any]]) -> str:
    """The gates as a table; a figure that was not measured says why."""
    rows = ["| gate | measured | limit | |", "|---|---|---|---|"]
    for gate in gates:
        value, limit = (_shown(gate.get(key)) for key in ("value", "limit"))
        why = f" ({gate['why']})" if gate.get("why") else ""
        unit = f" {gate['unit']}" if gate.get("unit") else ""
        cells = (gate.get("name"), value + unit, limit + unit, f"{gate.get('status')}{why}")
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(rows) if gates else "No gate was judged."


def _pairs(facts: dict[str, Any]) -> str:
    return "\n".join(f"- {name.replace('_', ' ')}: {_shown(facts[name])}" for name in facts)


def _shown(value: Any) -> str:
    if value is None:
        return "—"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cell(value: Any) -> str:
    """A table's cell: no bar and no line break."""
    return str(value).replace("|", "/").replace("\n", " ")
