"""Base models by name: where their files come from, what they are, and their digests.

    name         files                                        codec                 licence
    nano         in the package; written out once             in its codec/         Apache-2.0
    orpheus-3b   canopylabs/orpheus-3b-0.1-ft (gated) or      snac_24khz (MIT)      Apache-2.0, and
                 the mirror unsloth/orpheus-3b-0.1-ft                               Llama 3.2's
    PATH         a directory with the same files              codec/ in it, or snac_24khz

Code above this module never asks which base it has; what differs is in `BaseModel`.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orpheus_clone import disk, nano, optimised, text, tokens
from orpheus_clone.errors import ArtifactError, RecipeError
from orpheus_clone.text.spoken import normalise

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MODEL_FILES = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "model*.safetensors",
    "model.safetensors.index.json",
]
"""What a base model needs of its hub repository. The 3B's also holds optimiser states: 100 GB."""

CODEC_FILES = ["config.json", "pytorch_model.bin", "model.safetensors"]
OPTIMISED_FILES = {"base.json", "codec", "config.json", "model.safetensors", "tokenizer.json"}
SNAC_HUB = "hubertsiuzdak/snac_24khz"


@dataclass(frozen=True)
class Known:
    """What is known of a base model before its files are here."""

    name: str
    hubs: tuple[str, ...]
    licence: str
    language: str
    voices: tuple[str, ...]
    tags: tuple[str, ...]
    about: str


ORPHEUS_3B = Known(
    name="orpheus-3b",
    hubs=("canopylabs/orpheus-3b-0.1-ft", "unsloth/orpheus-3b-0.1-ft"),
    licence="Apache-2.0, on Llama 3.2 (Llama 3.2 Community License: accept it on the hub)",
    language="en",
    voices=("tara", "leah", "jess", "leo", "dan", "mia", "zac", "zoe"),
    tags=("laugh", "chuckle", "sigh", "cough", "sniffle", "groan", "yawn", "gasp"),
    about="the real one: 3 B parameters, needs a GPU",
)
NANO = Known(
    name="nano",
    hubs=(),
    licence="Apache-2.0 (made by this project)",
    language="en",
    voices=nano.VOICES,
    tags=(),
    about="a stand-in that says some 200 words on a CPU: for learning, trying and testing",
)
KNOWN = {known.name: known for known in (NANO, ORPHEUS_3B)}


@dataclass(frozen=True)
class BaseModel:
    """A base model whose files are on this machine."""

    name: str
    path: Path
    codec_path: Path
    digest: str
    """SHA-256 over its weights, configuration and tokenizer: adapters name the base they fit. One
    with an audio head has that of the base it was made of, which has the same adapters."""
    codec_digest: str
    language: str
    voices: tuple[str, ...]
    tags: tuple[str, ...]
    prompts: tuple[str, ...]
    """What it can say, where that is not everything: epochs and voices are judged by it."""
    is_random: bool
    """Its weights were never trained, so nothing about how it speaks can be measured."""
    has_audio_head: bool
    """It is what `optimise` wrote: its ids are turned and its head is short."""

    def tokenizer(self) -> "Tokenizer":
        """The text side; control tokens written out in a text are taken as plain characters."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.path / "tokenizer.json"))
        tokenizer.encode_special_tokens = True
        return tokenizer


def prompt_ids(
    tokenizer: "Tokenizer", voice: str, spoken: str, tags: tuple[str, ...], language: str
) -> list[int]:
    """The ids a model goes on from to say `spoken`; TextError where it cannot be said.

    Numbers and signs are put into words, here and nowhere else: a voice is asked for what it was
    taught.
    """
    line = text.clean(normalise(text.clean(spoken, tags), language), tags)
    return tokens.prompt(tokenizer.encode(f"{voice}: {line}").ids)


def cache_dir() -> Path:
    """Where models are kept: $ORPHEUS_CLONE_CACHE, else ~/.cache/orpheus-clone."""
    chosen = os.environ.get("ORPHEUS_CLONE_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "orpheus-clone"


def locate(name: str, say: Callable[[str], None] = lambda _: None) -> BaseModel:
    """A base model by name or path, fetched or made if it is not here yet.

    `say` is told before anything that takes long. ArtifactError says what to do where the files
    cannot be had; RecipeError where the name means nothing.
    """
    if name == NANO.name:
        return _described(name, _nano_dir(say), ORPHEUS_3B)
    if name in KNOWN:
        known = KNOWN[name]
        return _described(name, _fetch_base(known, say), known)
    path = Path(name).expanduser()
    if not path.is_dir():
        raise RecipeError(
            f"base model {name!r} is neither a known name ({', '.join(KNOWN)}) nor a directory"
        )
    return _described(name, path.resolve(), ORPHEUS_3B)


def optimise(base: BaseModel, out: Path) -> BaseModel:
    """Write `base` with a short head into the directory `out`; see optimised.py.

    Adapters made for `base` fit it. RecipeError if it has a short head already, or if `out` holds
    something else.
    """
    if base.has_audio_head:
        raise RecipeError(f"{base.path} is optimised already")
    _check_may_be_written(out)
    with disk.atomic_dir(out) as temporary:
        optimised.write(base.path, temporary)
        shutil.copyfile(base.path / "tokenizer.json", temporary / "tokenizer.json")
        (temporary / "codec").mkdir()
        for file in base.codec_path.iterdir():
            if file.name in CODEC_FILES:
                shutil.copyfile(file, temporary / "codec" / file.name)
        facts = {
            "name": base.name,
            "source_digest": base.digest,
            "voices": base.voices,
            "tags": base.tags,
            "prompts": base.prompts,
            "language": base.language,
            "is_random": base.is_random,
        }
        disk.write_json(temporary / "base.json", facts)
    return locate(str(out))


def fast(base: BaseModel, say: Callable[[str], None] = lambda _: None) -> BaseModel:
    """`base` with a short head, from the cache, where it is written once."""
    if base.has_audio_head:
        return base
    path = cache_dir() / "optimised" / base.digest[:16]
    if path.is_dir():
        return locate(str(path))
    say(f"writing {base.name} with a short head into the cache (once; see `models optimise`)")
    return optimise(base, path)


def here(name: str) -> BaseModel | None:
    """`locate`, but None where files would have to be fetched or made."""
    known = KNOWN.get(name)
    found = is_here(known) if known is not None else Path(name).expanduser().is_dir()
    return locate(name) if found else None


def is_here(known: Known) -> bool:
    """Whether `locate` would find the files without fetching or making them."""
    if known is NANO:
        return _nano_path().is_dir()
    return any(_hub_snapshot(hub, MODEL_FILES, local_only=True) is not None for hub in known.hubs)


def _described(name: str, path: Path, known: Known) -> BaseModel:
    for needed in ("config.json", "tokenizer.json"):
        if not (path / needed).is_file():
            raise ArtifactError(f"{path / needed} is missing: {path} is not a base model")
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        raise ArtifactError(f"{path} holds no *.safetensors; pickled weights are not loaded")
    missing = _missing_weights(path)
    if missing:
        raise ArtifactError(f"{path} lacks {', '.join(missing)}; fetch the base model again")
    _check_vocabulary(path)
    codec_path = _codec_path(path)
    facts = _facts(path, known)
    content = [*weights, path / "config.json", path / "tokenizer.json"]
    return BaseModel(
        name=facts.pop("name", name),
        path=path,
        codec_path=codec_path,
        digest=facts.pop("source_digest", None) or _digest(content),
        codec_digest=_digest(sorted(p for p in codec_path.iterdir() if p.name in CODEC_FILES)),
        **facts,
    )


def _missing_weights(path: Path) -> list[str]:
    """The weights that should be in `path` and are not, as after a download that was cut short."""
    index = path / "model.safetensors.index.json"
    needed = {"model.safetensors"}
    if index.is_file():
        weight_map = disk.read_json(index, "fetch the base model again").get("weight_map", {})
        needed = set(weight_map.values())
    return sorted(name for name in needed if not (path / name).is_file())


def _facts(path: Path, known: Known) -> dict[str, Any]:
    """Voices, tags, language: from base.json where there is one, else Orpheus-3B's."""
    if not (path / "base.json").is_file():
        return {
            "language": known.language,
            "voices": known.voices,
            "tags": known.tags,
            "prompts": (),
            "is_random": False,
            "has_audio_head": False,
        }
    facts = disk.read_json(path / "base.json", "fetch the base model again")
    source = {key: str(facts[key]) for key in ("name", "source_digest") if key in facts}
    return source | {
        "language": str(facts["language"]),
        "voices": tuple(facts["voices"]),
        "tags": tuple(facts["tags"]),
        "prompts": tuple(facts.get("prompts", ())),
        "is_random": bool(facts["is_random"]),
        "has_audio_head": "source_digest" in facts,
    }


def _check_may_be_written(out: Path) -> None:
    """RecipeError where `optimise` would replace what it did not write, hidden files too."""
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    facts = out / "base.json"
    is_ours = facts.is_file() and "source_digest" in disk.read_json(facts, "remove it")
    foreign = sorted(there - OPTIMISED_FILES if is_ours else there)
    if foreign:
        raise RecipeError(
            f"--out {out}: holds {foreign[0]}, which is no part of an optimised base model; name a "
            "new or an empty directory"
        )


def _check_vocabulary(path: Path) -> None:
    size = disk.read_json(path / "config.json", "fetch the base model again").get("vocab_size")
    if not isinstance(size, int) or size < tokens.AUDIO_END:
        raise ArtifactError(
            f"{path}: has a vocabulary of {size}, but Orpheus's audio ids end at "
            f"{tokens.AUDIO_END - 1}; this is not an Orpheus model"
        )


def _digest(files: list[Path]) -> str:
    """SHA-256 over names and contents; contents are hashed once and remembered by size and time."""
    return disk.sha256_json({file.name: _file_digest(file) for file in files})


def _file_digest(file: Path) -> str:
    stat = file.stat()
    if stat.st_size < 64 * 2**20:
        return disk.sha256_file(file)
    key = disk.sha256_json([str(file.resolve()), stat.st_size, stat.st_mtime_ns])
    remembered = cache_dir() / "digests" / key
    if not remembered.is_file():
        disk.write_text(remembered, disk.sha256_file(file))
    return remembered.read_text(encoding="utf-8")


def _nano_path() -> Path:
    return cache_dir() / f"nano-{nano.revision()}"


def _nano_dir(say: Callable[[str], None]) -> Path:
    path = _nano_path()
    if not path.is_dir():
        say("writing the nano base model into the cache (once)")
        with disk.atomic_dir(path) as temporary:
            nano.make(temporary)
    return path


def _fetch_base(known: Known, say: Callable[[str], None]) -> Path:
    problems = []
    for hub in known.hubs:
        here = _hub_snapshot(hub, MODEL_FILES, local_only=True)
        if here is not None and not _missing_weights(here):
            return here
    for hub in known.hubs:
        say(f"fetching {hub} from the hub (several GB; licence: {known.licence})")
        try:
            return _hub_download(hub, MODEL_FILES)
        except (OSError, ValueError) as error:
            problems.append(f"{hub}: {_first_line(error)}")
    raise ArtifactError(
        f"{known.name} cannot be fetched ({'; '.join(problems)}). Accept the licence at "
        f"https://huggingface.co/{known.hubs[0]} and set HF_TOKEN, or download it elsewhere and "
        "pass --base PATH"
    )


def _codec_path(base: Path) -> Path:
    """The codec beside the base, at $ORPHEUS_CLONE_SNAC, or from the hub."""
    if (base / "codec").is_dir():
        return base / "codec"
    chosen = os.environ.get("ORPHEUS_CLONE_SNAC")
    if chosen:
        path = Path(chosen).expanduser()
        if not (path / "config.json").is_file():
            raise ArtifactError(f"ORPHEUS_CLONE_SNAC={chosen}: holds no config.json")
        return path
    here = _hub_snapshot(SNAC_HUB, CODEC_FILES, local_only=True)
    if here is not None and {p.name for p in here.iterdir()} & {*CODEC_FILES[1:]}:
        return here
    try:
        return _hub_download(SNAC_HUB, CODEC_FILES)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"the SNAC codec ({SNAC_HUB}, MIT) cannot be fetched: {_first_line(error)}. Put its "
            f"config.json and pytorch_model.bin into {base / 'codec'}, or name their directory in "
            "ORPHEUS_CLONE_SNAC"
        ) from error


def _hub_download(repo: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(repo, allow_patterns=patterns))


def _hub_snapshot(repo: str, patterns: list[str], *, local_only: bool) -> Path | None:
    """The snapshot in the hub's local cache, if it is there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, allow_patterns=patterns, local_files_only=local_only))
    except LocalEntryNotFoundError:
        return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def describe(known: Known) -> dict[str, Any]:
    """Plain facts about a known base, for `models --json`."""
    facts: dict[str, Any] = json.loads(json.dumps(known.__dict__))
    return facts | {"here": is_here(known)}
