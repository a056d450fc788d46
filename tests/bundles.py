"""Bundles of the small run under any name, with any claim; and reports that eval could write."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from orpheus_clone import bundle, disk, recipe
from orpheus_clone.bundle import Bundle, Proof, VoiceCard
from orpheus_clone.eval.gates import Status, Verdict
from orpheus_clone.layout import RunDir
from orpheus_clone.recipe import Recipe, Sampling

SHORT = Sampling(temperature=0.0, repetition_penalty=1.0, max_seconds=0.5)
"""Greedy, so that every node says the same."""
SHORT_FRAMES = 5
"""Whole frames in the half second of SHORT."""


def frames_of(pcm: bytes) -> int:
    """Frames that 16-bit sound is of; of the first, a little silence may have been dropped."""
    return -(-len(pcm) // 4096)


def made(
    run: RunDir,
    out: Path,
    voice: str = "jack",
    *,
    proof: Proof = "unproven",
    sampling: Sampling = SHORT,
    **changes: Any,
) -> Bundle:
    """A bundle of the run's adapter; `changes` go into its card."""
    stamp = run.stamp()
    card = VoiceCard(
        voice=voice,
        language=stamp.language,
        base=stamp.base,
        base_digest=stamp.base_digest,
        adapter_digest=stamp.adapter_digest,
        sampling=sampling.model_dump(),
        proof=proof,
        measured_on={"hardware": "CPU (none)"},
        gates=[],
        override_reason=None,
        licence="Apache-2.0",
        trained={"steps": stamp.steps},
        watermark="none",
        consent=None,
        versions=stamp.versions,
    )
    changed = replace(card, **changes)
    return bundle.write(out, changed, run.adapter, f"# {voice}\n")


def reported(
    run: RunDir,
    out: Path,
    verdict: Verdict,
    status: Status,
    settings: Recipe | None = None,
    why: str | None = None,
) -> RunDir:
    """A copy of the run with the report of an evaluation by `settings`."""
    settings = settings or Recipe()
    copy = RunDir(Path(shutil.copytree(run.root, out)))
    disk.write_text(copy.recipe, recipe.dump(settings))
    gate = {"name": "stop rate", "limit": 0.95, "value": 0.5, "status": status, "why": why}
    disk.write_json(
        copy.report,
        {
            "adapter_digest": run.stamp().adapter_digest,
            "settings_digest": recipe.proof_digest(settings),
            "verdict": verdict,
            "gates": [gate],
            "hardware": "CPU (none)",
            "engine": "hf",
            "precision": "fp32",
            "concurrency": 2,
        },
    )
    return copy
