"""Voices of random weights for a base: what they cost does not depend on what they say."""

from pathlib import Path

from orpheus_clone import bundle, disk, layout, lora
from orpheus_clone.bundle import Adapter, Bundle, VoiceCard
from orpheus_clone.lora import MAX_RANK
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling

SPREAD = 0.01
"""Standard deviation of the weights: no projection is left as it was, and none is drowned."""


def adapter(base: BaseModel, out: Path, seed: int, rank: int = MAX_RANK) -> Adapter:
    """A LoRA in the new directory `out`, with the name of that."""
    import torch
    from safetensors.torch import save_file

    dimensions = lora.dimensions_of(disk.read_json(base.path / "config.json", "fetch it again"))
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(shape, generator=generator).mul_(SPREAD).to(torch.bfloat16)
        for name, shape in lora.expected_shapes(dimensions, rank).items()
    }
    out.mkdir(parents=True)
    save_file(weights, out / bundle.WEIGHTS_FILE)
    config = bundle.adapter_config(base.name, rank, lora_alpha=2 * rank, lora_dropout=0.0)
    disk.write_json(out / bundle.CONFIG_FILE, config)
    return there(out)


def there(path: Path) -> Adapter:
    """One that was made before."""
    digest = disk.sha256_file(path / bundle.WEIGHTS_FILE)
    return Adapter(bundle.bundle_name(path.name, digest), path, digest)


def release(
    base: BaseModel, out: Path, voice: str, seed: int, sampling: Sampling | None = None
) -> Bundle:
    """The same as a bundle of rank 1, in the directory `out`, ready to be published."""
    made = adapter(base, out / "adapters" / voice, seed, rank=1)
    card = VoiceCard(
        voice=voice,
        language=base.language,
        base=base.name,
        base_digest=base.digest,
        adapter_digest=made.digest,
        sampling=(sampling or Sampling()).model_dump(),
        proof="unproven",
        measured_on={},
        gates=[],
        override_reason=None,
        licence="Apache-2.0",
        trained={},
        watermark="none",
        consent=None,
        versions=layout.versions(),
    )
    return bundle.write(out, card, made.path, f"# {voice}: random weights\n")
