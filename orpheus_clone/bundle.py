"""The adapter bundle: what publish writes, a store keeps and a node verifies before it speaks.

    jack@4f1c2a9be07d/
      voice.json                  who, for which base, how to sample, what was proved, consent
      adapter_model.safetensors   LoRA weights, bf16
      adapter_config.json         rank, alpha, the seven projections

A bundle is immutable, and its name carries the SHA-256 over its files: equal name, equal content.
Nothing in it is ever unpickled, and no path comes from its content.
"""

import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from orpheus_clone import layout
from orpheus_clone.errors import ArtifactError, DataError
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling

VOICE_FILE = "voice.json"
WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
FILES = (VOICE_FILE, CONFIG_FILE, WEIGHTS_FILE)

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
MAX_RANK = 16
"""Nodes reserve room for this rank; a larger one wastes memory and time on all of them."""

Proof = Literal["proven", "overridden", "unproven"]
"""Every gate passed; one failed and somebody said why it may go; some could not be measured."""


@dataclass(frozen=True)
class Adapter:
    """A LoRA on disk; immutable, so its name carries the digest of its content."""

    name: str
    path: Path
    digest: str

    @property
    def number(self) -> int:
        """vLLM's integer id, from the digest so that equal content has an equal id; 1 to 2^31."""
        return int(self.digest[:8], 16) % (2**31 - 1) + 1


@dataclass(frozen=True)
class VoiceCard:
    """The content of voice.json."""

    voice: str
    language: str
    base: str
    base_digest: str
    adapter_digest: str
    sampling: dict[str, Any]
    proof: Proof
    measured_on: dict[str, Any]
    """Hardware, precision, engine and concurrency that the speed gates were measured on."""
    gates: list[dict[str, Any]]
    override_reason: str | None
    """Why somebody released it although a gate failed."""
    consent: dict[str, Any] | None
    versions: dict[str, str]

    @property
    def consent_line(self) -> str:
        """What to show people."""
        return consent_line(self.consent)


def consent_line(consent: dict[str, Any] | None) -> str:
    """One line about a consent record; its absence is said, never hidden."""
    if consent is None:
        return "no consent recorded"
    return f"consent recorded (sha256 {str(consent.get('sha256', ''))[:12]})"


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk."""

    path: Path
    card: VoiceCard
    digest: str

    @property
    def name(self) -> str:
        """voice@sha256[:12]."""
        return bundle_name(self.card.voice, self.digest)

    @property
    def adapter(self) -> Adapter:
        """What an engine loads."""
        return Adapter(self.name, self.path, self.digest)

    @property
    def sampling(self) -> Sampling:
        """How it was evaluated, so how it speaks."""
        return Sampling.model_validate(self.card.sampling)


def bundle_name(voice: str, digest: str) -> str:
    """The immutable name of a bundle."""
    return f"{voice}@{digest[:12]}"


def adapter_config(base: str, rank: int, lora_alpha: float, lora_dropout: float) -> dict[str, Any]:
    """adapter_config.json: all of it, since other fields of PEFT's would be imported or obeyed."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": lora_alpha,
        "lora_dropout": lora_dropout,
        "bias": "none",
        "target_modules": list(PROJECTIONS),
    }


def content_digest(path: Path) -> str:
    """SHA-256 over the names and contents of a bundle's files."""
    return layout.sha256_json({name: layout.sha256_file(path / name) for name in FILES})


def write(out: Path, card: VoiceCard, adapter: Path) -> Bundle:
    """Make a bundle of a trained adapter in the directory `out`/voice@digest."""
    out.mkdir(parents=True, exist_ok=True)
    with layout.atomic_dir(out / f"{card.voice}.new") as temporary:
        for name in (WEIGHTS_FILE, CONFIG_FILE):
            shutil.copyfile(adapter / name, temporary / name)
        layout.write_json(temporary / VOICE_FILE, asdict(card))
    made = out / f"{card.voice}.new"
    final = out / bundle_name(card.voice, content_digest(made))
    if final.exists():
        shutil.rmtree(made)
    else:
        made.rename(final)
    return read(final)


def read(path: Path) -> Bundle:
    """A bundle from disk, checked against its name; ArtifactError if anything is off."""
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    pickled = sorted(name for name in names if name.endswith((".bin", ".pt", ".pkl", ".pth")))
    if pickled:
        raise ArtifactError(f"{path}: holds {pickled[0]}, a pickle, which may run code; refused")
    plain = all((path / name).is_file() and not (path / name).is_symlink() for name in names)
    if names != set(FILES) or not plain:
        raise ArtifactError(f"{path}: holds {sorted(names)}, expected exactly {sorted(FILES)}")
    card = read_card(path / VOICE_FILE)
    digest = content_digest(path)
    expected = path.name.partition("@")[2]
    if expected and path.name != bundle_name(card.voice, digest):
        raise ArtifactError(
            f"{path}: its content has digest {digest[:12]}, its name says {expected}; publish again"
        )
    _check_weights(path, card)
    return Bundle(path, card, digest)


def read_card(path: Path) -> VoiceCard:
    """voice.json, checked field by field."""
    data = layout.read_json(path, "publish the voice again")
    if set(data) != {field.name for field in fields(VoiceCard)}:
        raise ArtifactError(f"{path}: is not a voice card of this version; publish again")
    try:
        card = TypeAdapter(VoiceCard).validate_python(data)
        Sampling.model_validate(card.sampling)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(
            f"{path}: {where}: {first['msg']} (got {first['input']!r}); publish the voice again"
        ) from None
    try:
        layout.checked_voice_name(card.voice)
    except DataError as error:
        raise ArtifactError(f"{path}: {error}") from None
    return card


def check_fits(bundle: Bundle, base: BaseModel) -> None:
    """ArtifactError unless the bundle was trained on exactly this base and names no stock voice."""
    if bundle.card.base_digest != base.digest:
        raise ArtifactError(
            f"{bundle.name} was trained on {bundle.card.base} {bundle.card.base_digest[:12]}, but "
            f"this is {base.name} {base.digest[:12]}: serve that base, or train on this one"
        )
    layout.checked_voice_name(bundle.card.voice, base.voices)


def _check_weights(path: Path, card: VoiceCard) -> None:
    """Rank, targets, shapes, numbers: what vLLM would refuse later, or crash on."""
    config = layout.read_json(path / CONFIG_FILE, "publish the voice again")
    rank = config.get("r")
    if not isinstance(rank, int) or not 1 <= rank <= MAX_RANK:
        raise ArtifactError(f"{path}: rank {rank} is not 1 to {MAX_RANK}")
    alpha, dropout = config.get("lora_alpha"), config.get("lora_dropout")
    if not isinstance(alpha, int | float) or not isinstance(dropout, int | float):
        raise ArtifactError(f"{path}: lora_alpha {alpha} or lora_dropout {dropout} is no number")
    wanted = adapter_config(str(config.get("base_model_name_or_path")), rank, alpha, dropout)
    odd = sorted(k for k in {*config, *wanted} if config.get(k) != wanted.get(k))
    if odd:
        raise ArtifactError(
            f"{path}: {CONFIG_FILE} sets {', '.join(odd)} otherwise than a voice of ours; it may "
            "hold only rank, alpha and dropout on the seven projections"
        )
    digest = layout.sha256_file(path / WEIGHTS_FILE)
    if digest != card.adapter_digest:
        raise ArtifactError(f"{path / WEIGHTS_FILE}: its digest is not the one in {VOICE_FILE}")
    _check_tensors(path / WEIGHTS_FILE, rank)


def _check_tensors(weights: Path, rank: int) -> None:
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="pt") as file:
            names = list(file.keys())
            for name in names:
                tensor = file.get_tensor(name)
                side = 0 if ".lora_A." in name else 1
                if ".lora_" not in name or tensor.ndim != 2 or tensor.shape[side] != rank:
                    raise ArtifactError(
                        f"{weights}: {name} {tuple(tensor.shape)} is no LoRA tensor"
                    )
                if not torch.isfinite(tensor).all():
                    raise ArtifactError(f"{weights}: {name} holds values that are not numbers")
    except SafetensorError as error:
        raise ArtifactError(f"{weights}: is not safetensors: {error}") from None
    if not names or len(names) % (2 * len(PROJECTIONS)):
        raise ArtifactError(f"{weights}: holds {len(names)} tensors, not 14 for each layer")
