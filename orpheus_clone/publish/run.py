"""publish, from top to bottom: read the verdict, make the bundle, hand it over.

    proven      published
    failed      refused; --override "reason" publishes it, and the bundle says why
    unproven    refused, unless the recipe allows it (smoke does); servers want --allow-unproven

Publishing the same run twice changes nothing: a bundle's name is its content. Killed anywhere, the
same command goes on: until the last step, which is one swap of a pointer, the old voice holds.
"""

from dataclasses import asdict, dataclass
from typing import Any

from orpheus_clone import bundle, disk, recipe
from orpheus_clone.bundle import Bundle, Proof, VoiceCard
from orpheus_clone.errors import ArtifactError, GateFailed
from orpheus_clone.layout import RunDir, RunStamp
from orpheus_clone.models import KNOWN, BaseModel
from orpheus_clone.publish.card import model_card
from orpheus_clone.publish.place import Signed, open_place

_TRAINED = ("steps", "epochs", "seed", "heldout_loss", "hardware")
"""Of the run's stamp, what the card repeats."""


@dataclass(frozen=True)
class Published:
    """What was published, and where."""

    voice: str
    bundle: str
    proof: Proof
    to: str
    is_new: bool
    """False if the name meant this bundle there already."""
    canary: float | None
    """The share of sessions that speak with it, 0 to 1; None for all of them."""


def publish(
    run: RunDir,
    to: str,
    *,
    key: str | None = None,
    override_reason: str | None = None,
    canary: float | None = None,
    by: str | None = None,
    base: BaseModel | None = None,
) -> Published:
    """Release the voice of a run to `to`, a node's URL or a store.

    With its `base` at hand the bundle is held against it; who serves it does so in any case.
    """
    place = open_place(to, key, is_new=True)
    made = make_bundle(run, override_reason)
    if base is not None:
        bundle.check_fits(made, base)
    is_new = place.publish(made, canary, Signed(by, made.card.override_reason))
    return Published(made.card.voice, made.name, made.card.proof, to, is_new, canary)


def make_bundle(run: RunDir, override_reason: str | None = None) -> Bundle:
    """The bundle of a run in `run`/bundles; GateFailed if the voice may not be released."""
    stamp = run.stamp()
    report = disk.read_json(run.report, f"run: orpheus-clone eval {run.root}")
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
        licence=_licence(stamp.base),
        trained=_trained(stamp, settings),
        watermark="none",
        consent=stamp.consent,
        versions=stamp.versions,
    )
    return bundle.write(run.root / "bundles", card, run.adapter, model_card(card))


def _licence(base: str) -> str:
    known = KNOWN.get(base)
    return known.licence if known else f"that of {base}, which is not known here"


def _trained(stamp: RunStamp, settings: recipe.Recipe) -> dict[str, Any]:
    facts = asdict(stamp)
    lora = {"rank": settings.train.lora.rank, "alpha": settings.train.lora.alpha}
    rate = {"learning_rate": settings.train.learning_rate}
    return {name: facts[name] for name in _TRAINED} | lora | rate


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
