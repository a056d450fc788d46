"""publish, from top to bottom: read the verdict, make the bundle, hand it over.

    proven      published
    failed      refused; --override "reason" publishes it, and the bundle says why
    unproven    refused, unless the recipe allows it (smoke does); servers want --allow-unproven

Publishing the same run twice changes nothing: a bundle's name is its content.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orpheus_clone import bundle, layout, recipe
from orpheus_clone.bundle import Bundle, Proof, VoiceCard
from orpheus_clone.client import NodeClient
from orpheus_clone.errors import ArtifactError, GateFailed, RecipeError
from orpheus_clone.layout import RunDir
from orpheus_clone.store import Store


@dataclass(frozen=True)
class Published:
    """What was published, and where."""

    voice: str
    bundle: str
    proof: Proof
    to: str
    is_new: bool
    """False if the name meant this bundle there already."""


def publish(
    run: RunDir, to: str, *, key: str | None = None, override_reason: str | None = None
) -> Published:
    """Release the voice of a run to `to`, a node's URL or a store's directory."""
    if "://" in to and not to.startswith(("http://", "https://")):
        raise RecipeError(f"--to {to}: expected http://NODE, https://NODE or a directory")
    made = make_bundle(run, override_reason)
    is_new = _to_node(made, NodeClient(to, key)) if "://" in to else _to_store(made, Path(to))
    return Published(made.card.voice, made.name, made.card.proof, to, is_new)


def rollback(voice: str, to: str, *, key: str | None = None) -> str:
    """Let a voice's name mean its earlier bundle; returns that bundle's name."""
    if "://" in to:
        return str(NodeClient(to, key).rollback(voice)["bundle"])
    store = Store(Path(to).expanduser())
    if not store.root.is_dir():
        raise ArtifactError(f"{to}: there is no such store")
    return store.rollback(voice)


def make_bundle(run: RunDir, override_reason: str | None = None) -> Bundle:
    """The bundle of a run in `run`/bundles; GateFailed if the voice may not be released."""
    stamp = run.stamp()
    report = layout.read_json(run.report, f"run: orpheus-clone eval {run.root}")
    if report.get("adapter_digest") != stamp.adapter_digest:
        raise ArtifactError(
            f"{run.report} is about another adapter; run: orpheus-clone eval {run.root}"
        )
    settings = recipe.load(run.recipe)
    if report.get("settings_digest") != recipe.proof_digest(settings):
        raise ArtifactError(
            f"{run.report} is about other settings than {run.recipe}; run: orpheus-clone eval "
            f"{run.root}"
        )
    card = VoiceCard(
        voice=stamp.voice,
        language=stamp.language,
        base=stamp.base,
        base_digest=stamp.base_digest,
        adapter_digest=stamp.adapter_digest,
        sampling=settings.sampling.model_dump(),
        proof=_proof(report, settings, override_reason),
        measured_on={
            name: report[name] for name in ("hardware", "engine", "precision", "concurrency")
        },
        gates=report["gates"],
        override_reason=override_reason if report["verdict"] == "failed" else None,
        consent=stamp.consent,
        versions=stamp.versions,
    )
    return bundle.write(run.root / "bundles", card, run.adapter)


def _to_node(made: Bundle, node: NodeClient) -> bool:
    if any(voice.get("bundle") == made.name for voice in node.voices()):
        return False
    node.publish(made)
    return True


def _to_store(made: Bundle, root: Path) -> bool:
    store = Store(root.expanduser())
    stored = store.add(made)
    if store.current(made.card.voice) == stored.name:
        return False
    store.point(made.card.voice, stored.name)
    return True


def _proof(report: dict[str, Any], settings: recipe.Recipe, override_reason: str | None) -> Proof:
    """What the verdict allows the bundle to claim."""
    verdict = report["verdict"]
    if verdict == "proven":
        return "proven"
    if verdict == "failed":
        if override_reason:
            return "overridden"
        raise GateFailed(
            f"not published: {_gates(report, 'failed')}. Listen to report.html; to release it all "
            'the same, --override "reason" (the reason goes into the bundle)'
        )
    if settings.publish.allow_unproven:
        return "unproven"
    raise GateFailed(
        f"not published: {_gates(report, 'not measurable')}. Run eval where they can be measured. "
        "--override is for a gate that failed; what was not measured is released only by a recipe "
        "with publish.allow_unproven, as smoke.yaml: train and eval with it"
    )


def _gates(report: dict[str, Any], status: str) -> str:
    """`a, b failed; c failed (reason)`: the gates of one status, those with one reason together."""
    by_reason: dict[str | None, list[str]] = {}
    for gate in report["gates"]:
        if gate["status"] == status:
            by_reason.setdefault(gate["why"], []).append(gate["name"])
    named = [
        f"{', '.join(names)} {status}" + (f" ({why})" if why else "")
        for why, names in by_reason.items()
    ]
    return "; ".join(named) or "no gate was judged"
