"""nano: a stand-in for Orpheus that speaks on a laptop's CPU, in weights of our own.

It has Orpheus's vocabulary, ids, prompts and file formats, and SNAC's strides, and says some two
hundred words in four voices. It is for learning, trying and testing: its figures say nothing about
Orpheus. recipes/nano trains it; README.md is its model card.

    base/    base.safetensors, config.json, tokenizer.json     a Llama, a row for each id it uses
    codec/   model.safetensors, config.json                    a small SNAC
    prompts.txt                                                sentences that it can say
"""

import hashlib
import json
import shutil
from pathlib import Path

from orpheus_clone import tokens
from orpheus_clone.errors import ArtifactError

VOICES = ("ada", "ben", "cleo", "dov")
WEIGHTS = Path(__file__).parent
_SUMS = "SHA256SUMS"


def revision() -> str:
    """Changes with its weights; part of the path of the cache."""
    sums = b"".join((WEIGHTS / part / _SUMS).read_bytes() for part in ("base", "codec"))
    return hashlib.sha256(sums).hexdigest()[:12]


def make(out: Path) -> None:
    """Write nano's files, as a base model has them, into the existing directory `out`.

    ArtifactError where the installed weights are not those that were released.
    """
    for part in ("base", "codec"):
        _check(WEIGHTS / part)
    assemble(WEIGHTS / "base", WEIGHTS / "codec", out)


def assemble(base: Path, codec: Path, out: Path) -> None:
    """Make what recipes/nano trains a base model in the existing directory `out`.

    The table in `base` has a row for each of its `ids` and one for all other ids.
    """
    from safetensors.torch import load_file, save

    trained = load_file(base / "base.safetensors")
    table, ids = trained.pop("table.weight"), trained.pop("ids")
    embedding = table[-1].repeat(tokens.VOCABULARY, 1)
    embedding[ids] = table[:-1]
    named = {f"model.{name.removeprefix('body.')}": value for name, value in trained.items()}
    named["model.embed_tokens.weight"] = embedding
    (out / "model.safetensors").write_bytes(save(named, metadata={"format": "pt"}))
    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(base / name, out / name)
    facts = {
        "voices": VOICES,
        "tags": [],
        "language": "en",
        "prompts": prompts(),
        "is_random": False,
    }
    (out / "base.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    (out / "codec").mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(codec / name, out / "codec" / name)


def prompts() -> list[str]:
    """Sentences of its words, of which none is in its corpus or in what it is measured with."""
    return (WEIGHTS / "prompts.txt").read_text(encoding="utf-8").splitlines()


def _check(folder: Path) -> None:
    for line in (folder / _SUMS).read_text(encoding="utf-8").splitlines():
        digest, name = line.split()
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise ArtifactError(f"{path} is damaged or missing: install orpheus-clone again")
