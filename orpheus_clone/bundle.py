"""The adapter bundle: what publish writes, a store keeps and a node verifies before it speaks.

    jack@4f1c2a9be07d/
      README.md                   the model card, for people; publish/card.py writes it
      voice.json                  who, for which base, how to sample, what was proved, consent
      adapter_config.json         rank, alpha, the seven projections
      adapter_model.safetensors   LoRA weights, bf16; what they must be is in lora.py

A bundle is immutable, and its name carries the SHA-256 over its files: equal name, equal content.
Nothing in it is ever unpickled, no path comes from its content, and no file is read that is larger
than such a file can be.
"""

import json
import math
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeGuard

from pydantic import TypeAdapter, ValidationError

from orpheus_clone import disk, layout, lora
from orpheus_clone.errors import ArtifactError, DataError
from orpheus_clone.lora import MAX_RANK, MAX_SCALE, PROJECTIONS, Dimensions
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Sampling

VOICE_FILE = "voice.json"
WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
README_FILE = "README.md"
FILES = (README_FILE, WEIGHTS_FILE, CONFIG_FILE, VOICE_FILE)
"""In the order in which they are sent: the last one there says that the others are."""
LARGEST = {
    README_FILE: 256 * 2**10,
    VOICE_FILE: 2**20,
    CONFIG_FILE: 64 * 2**10,
    WEIGHTS_FILE: 128 * 2**20,
}
"""Bytes; rank 16 of the 3B is 46.4 MiB."""

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
    licence: str
    """Of the base, which binds what is made of it."""
    trained: dict[str, Any]
    """Steps, epochs, hardware, rank and the like, as they stand in the run."""
    watermark: Literal["none"]
    """What its sound is marked with. Nodes mark none, and refuse a voice that asks for it."""
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
    dimensions: Dimensions
    """Of the base that its tensors were made for."""

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
    return disk.sha256_json({name: disk.sha256_file(path / name) for name in FILES})


def write(out: Path, card: VoiceCard, adapter: Path, readme: str) -> Bundle:
    """Make a bundle of a trained adapter in the directory `out`/voice@digest."""
    with disk.atomic_dir(out / f"{card.voice}.new") as temporary:
        for name in (WEIGHTS_FILE, CONFIG_FILE):
            shutil.copyfile(adapter / name, temporary / name)
        disk.write_text(temporary / README_FILE, readme)
        disk.write_json(temporary / VOICE_FILE, asdict(card))
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
    for name in FILES:
        check_size(name, (path / name).stat().st_size, path)
    card = parse_card((path / VOICE_FILE).read_bytes(), str(path / VOICE_FILE))
    digest = content_digest(path)
    expected = path.name.partition("@")[2]
    if expected and path.name != bundle_name(card.voice, digest):
        raise ArtifactError(
            f"{path}: its content has digest {digest[:12]}, its name says {expected}; publish again"
        )
    return Bundle(path, card, digest, _checked_weights(path, card))


def check_size(name: str, size: int, where: object) -> None:
    """ArtifactError if a file of a bundle is larger than such a file can be."""
    if size > LARGEST[name]:
        raise ArtifactError(
            f"{where}: {name} has {size} bytes, a voice's has at most {LARGEST[name]}"
        )


def parse_card(content: bytes, where: str) -> VoiceCard:
    """The content of a voice.json, checked field by field; `where` names it in errors."""
    data = disk.parse_json(content, where, "publish the voice again")
    if set(data) != {each.name for each in fields(VoiceCard)}:
        raise ArtifactError(f"{where}: is not a voice card of this version; publish again")
    try:
        # What cannot be said again in JSON would break every list that the voice stands in.
        json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
    except ValueError as error:
        raise ArtifactError(f"{where}: {error}; publish the voice again") from None
    try:
        card = TypeAdapter(VoiceCard).validate_python(data)
        Sampling.model_validate(card.sampling)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(
            f"{where}: {field}: {first['msg']} (got {first['input']!r}); publish the voice again"
        ) from None
    try:
        layout.checked_voice_name(card.voice)
    except DataError as error:
        raise ArtifactError(f"{where}: {error}") from None
    return card


def check_fits(bundle: Bundle, base: BaseModel) -> None:
    """ArtifactError unless the bundle was trained on exactly this base and names no stock voice."""
    if bundle.card.base_digest != base.digest:
        raise ArtifactError(
            f"{bundle.name} was trained on {bundle.card.base} {bundle.card.base_digest[:12]}, but "
            f"this is {base.name} {base.digest[:12]}: serve that base, or train on this one"
        )
    config = disk.read_json(base.path / "config.json", "fetch the base model again")
    wanted = lora.dimensions_of(config)
    if bundle.dimensions != wanted:
        raise ArtifactError(
            f"{bundle.name} has the shapes of another model ({bundle.dimensions}) than {base.name} "
            f"({wanted}); it was not trained as it says"
        )
    layout.checked_voice_name(bundle.card.voice, base.voices)


def _checked_weights(path: Path, card: VoiceCard) -> Dimensions:
    """Rank, targets, shapes, numbers: what vLLM would refuse later, or crash on."""
    config = disk.read_json(path / CONFIG_FILE, "publish the voice again")
    rank = config.get("r")
    if type(rank) is not int or not 1 <= rank <= MAX_RANK:
        raise ArtifactError(f"{path}: rank {rank} is not 1 to {MAX_RANK}")
    alpha, dropout = config.get("lora_alpha"), config.get("lora_dropout")
    if not _is_number(alpha) or not _is_number(dropout):
        raise ArtifactError(f"{path}: lora_alpha {alpha} or lora_dropout {dropout} is no number")
    if not 0 < alpha <= MAX_SCALE * rank or not 0 <= dropout < 1:
        raise ArtifactError(
            f"{path}: lora_alpha {alpha:g} is not above 0 and at most {MAX_SCALE} x rank {rank}, "
            f"or lora_dropout {dropout:g} is not 0 to 1; no training of a voice makes that"
        )
    wanted = adapter_config(str(config.get("base_model_name_or_path")), rank, alpha, dropout)
    odd = sorted(k for k in {*config, *wanted} if config.get(k) != wanted.get(k))
    if odd:
        raise ArtifactError(
            f"{path}: {CONFIG_FILE} sets {', '.join(odd)} otherwise than a voice of ours; it may "
            "hold only rank, alpha and dropout on the seven projections"
        )
    digest = disk.sha256_file(path / WEIGHTS_FILE)
    if digest != card.adapter_digest:
        raise ArtifactError(f"{path / WEIGHTS_FILE}: its digest is not the one in {VOICE_FILE}")
    return lora.check(path / WEIGHTS_FILE, rank)


def _is_number(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and math.isfinite(value)
