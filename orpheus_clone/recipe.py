"""Recipes: strict, frozen settings read from YAML, with `--set key=value` on top.

    Recipe
    ├── prepare   trimming, limits, the held-out split
    ├── train     LoRA and optimiser
    ├── sampling  how the voice speaks, in eval and in production
    ├── eval      prompts, concurrency, gates
    └── publish   what may be released

The defaults are `recipes/clone-30min.yaml`. An unknown key fails with the nearest known one. The
resolved recipe is written into the run, so a run directory says how it was made.
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orpheus_clone import layout
from orpheus_clone.errors import RecipeError


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


class Limits(_Section):
    """What a clip must be to be kept; null switches a check off.

    What is measured does not depend on these, so that another limit costs seconds.
    """

    cer_max: float | None = Field(0.5, ge=0)
    """Character errors of the text against what the ASR heard; more is another text. With the next
    two, of 687 clips 99 % of swapped texts were found and all that lacked their last clause, at a
    precision of 96 % (whisper-base, a tenth of the texts corrupted)."""
    unspoken_words_max: int | None = Field(1, ge=0)
    """Words of the text in a row that were not heard: a model would learn to skip them."""
    untold_words_max: int | None = Field(1, ge=0)
    """Words heard in a row that the text lacks: a model would learn to add words."""
    similarity_min: float | None = Field(0.30, ge=-1, le=1)
    """Of the clip's voice to the speaker's. A real speaker's own clips of 1.5 s and more were
    never below 0.54, strangers reach 0.33 to 0.41; of shorter clips less is asked."""
    part_similarity_min: float | None = Field(0.36, ge=-1, le=1)
    """Of the least similar 1.5 s of it: somebody else interrupts. With it no clean clip of 278 was
    lost, and all were found in which a stranger spoke for two seconds."""
    snr_min_db: float | None = 12.0
    """Speech over the noise around it."""
    clipped_max: float | None = Field(0.002, ge=0, le=1)
    """Share of samples in flattened peaks."""
    bandwidth_min_hz: float | None = Field(5000.0, ge=0)
    """Telephone audio ends at 4 kHz, whatever its sample rate says."""
    zeros_max: float | None = Field(0.1, ge=0, le=1)
    """Share of the clip in digital silence; the whole corpus has a limit of its own."""
    mos_min: float | None = Field(2.2, ge=1, le=5)
    """DNSMOS's overall score: 2.4 and more for real recordings, 2.2 and less under loud noise."""
    music_max: float | None = Field(0.25, ge=0, le=1)
    """Share of the time in which a note is held, as no voice holds one."""
    echo_doubted_s: float | None = Field(0.3, ge=0)
    """Seconds in which sounds die away; a room with more is a doubt, not a reason to reject."""
    hum_doubted_db: float | None = 15.0
    """Mains hum over the room tone; more is a doubt, not a reason to reject."""


class Prepare(_Section):
    """How recordings become clips."""

    asr: str = "auto"
    """What hears the words: a Whisper model's name or directory; none; auto: base, or turbo on a
    GPU, if it can be had."""
    speaker: str = "auto"
    """What tells voices apart: a directory with ECAPA-TDNN's weights; none; auto: if it is here."""
    mos: Literal["auto", "none"] = "auto"
    """Whether DNSMOS listens too, if it is installed."""
    limits: Limits = Limits()
    """Which clips are kept."""
    loudness_lufs: float | None = Field(-20.0, ge=-40, le=-10)
    """What one gain for the whole corpus brings it to; null leaves it as it is."""
    pause_max_s: float | None = Field(None, ge=0.2)
    """A longer pause inside a clip is shortened to this; null leaves them all."""
    cut_min_s: float = Field(2.0, ge=0.5)
    """The shortest clip that a long recording is cut into."""
    cut_max_s: float = Field(20.0, ge=5, le=28)
    """The longest; a recording that is not longer is one clip."""
    head_ms: float = Field(50.0, ge=20, le=500)
    """Room tone kept before the speech; the model learns to wait just as long."""
    tail_ms: float = Field(100.0, ge=20, le=1000)
    """Room tone kept after the speech; the model reproduces the tail it was taught."""
    min_seconds: float = Field(0.4, ge=0)
    """A shorter clip is rejected."""
    max_tokens: int = Field(2048, ge=64)
    """Sequence limit of a row, text and audio together; a longer clip is rejected, never cut."""
    heldout_fraction: float = Field(0.08, gt=0, lt=0.5)
    """Share of clips, by content hash, that training never sees."""
    max_zero_fraction: float = Field(0.02, ge=0, le=1)
    """A corpus with a larger share of digital silence is refused: it is a token attractor."""
    max_rejected_fraction: float = Field(0.5, ge=0, le=1)
    """A corpus of which a larger share is rejected is refused: something is wrong with it."""


class Lora(_Section):
    """The adapter's shape; its targets are always the seven projections."""

    rank: int = Field(16, ge=1, le=64)
    """Rank of the update; servers reserve memory for their largest."""
    alpha: int = Field(32, ge=1)
    """The update is scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the adapter's input while training."""


class Train(_Section):
    """How the adapter is fitted."""

    epochs: int = Field(3, ge=1)
    """Passes over the clips."""
    learning_rate: float = Field(2e-4, gt=0)
    """Peak rate of AdamW, reached after the warm-up, then falling linearly to 0."""
    warmup_steps: int = Field(5, ge=0)
    """Steps over which the rate rises."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decay of the adapter's weights."""
    batch_size: int = Field(1, ge=1)
    """Clips in one forward pass."""
    grad_accumulation: int = Field(4, ge=1)
    """Forward passes to one step."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are scaled down to this norm."""
    checkpoint_steps: int = Field(50, ge=1)
    """Steps between checkpoints that an interrupted run goes on from."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic: auto is bf16 on a GPU and fp32 on a CPU."""
    seed: int = 0
    """Seeds the adapter's start and the order of the clips."""
    lora: Lora = Lora()


class Sampling(_Section):
    """How the next token is drawn."""

    temperature: float = Field(0.6, ge=0, le=2)
    """0 is greedy, which loops on the stock model."""
    top_p: float = Field(0.9, gt=0, le=1)
    """Nucleus of the distribution that is drawn from."""
    repetition_penalty: float = Field(1.1, ge=1, le=2)
    """Of what was said in the last two seconds. Below 1.1 the stock model loops."""
    max_seconds: float = Field(20.0, gt=0, le=60)
    """An utterance that has not stopped by then is cut; by how long its text may take, if less."""
    context: bool = True
    """An utterance goes on from the text and the sound of the one before, so that they join."""


class Gates(_Section):
    """What a voice must reach to be released; null switches a gate off."""

    stream_rate_min: float | None = 90.0
    """Tokens a second of each stream at `concurrency`, median; 82.03 is real time."""
    first_speech_p50_ms: float | None = 500.0
    """From request to the first audible speech, median."""
    head_silence_p50_ms: float | None = 100.0
    """Silence before the speech, median."""
    stop_rate_min: float | None = 0.95
    """Share of utterances that end by themselves."""


class Eval(_Section):
    """How the voice is proved."""

    prompts: int = Field(20, ge=1, le=200)
    """How many of the prompt set are spoken (the set repeats if it is shorter)."""
    concurrency: int = Field(10, ge=1)
    """Streams at a time."""
    speed_target: Literal["gpu", "cpu"] = "gpu"
    """The kind of hardware that the speed gates are about; on another they are not measurable."""
    max_seconds: float | None = Field(None, gt=0)
    """A shorter cut than the sampling's, for a quick look."""
    gates: Gates = Gates()


class Publish(_Section):
    """What may be released."""

    allow_unproven: bool = False
    """Release a voice with gates that were not measurable; servers need --allow-unproven."""


class Recipe(_Section):
    """Everything that can be chosen about making a voice."""

    prepare: Prepare = Prepare()
    train: Train = Train()
    sampling: Sampling = Sampling()
    eval: Eval = Eval()
    publish: Publish = Publish()


class _Yaml(yaml.SafeLoader):
    """YAML 1.1, but `1e-4` is a number, as in 1.2, and no key may stand twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping; a repeated key would have won over the first in silence."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} stands twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def load(path: Path | None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe at `path` (or the defaults) with `key.sub=value` overrides."""
    tree: dict[str, Any] = {}
    where = "--set"
    if path is not None:
        where = str(path)
        tree = _read_yaml(path)
    for override in overrides:
        _apply(tree, override)
    return parse(tree, where)


def parse(tree: dict[str, Any], where: str) -> Recipe:
    """A recipe from plain data; `where` names it in errors."""
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(f"{where}: " + "; ".join(map(_explain, error.errors()))) from None


def proof_digest(recipe: Recipe) -> str:
    """Of the settings that a verdict is about: how the voice spoke, and what was asked of it."""
    return layout.sha256_json([recipe.eval.model_dump(), recipe.sampling.model_dump()])


def dump(recipe: Recipe) -> str:
    """The whole recipe as YAML, defaults included."""
    text: str = yaml.safe_dump(recipe.model_dump(), sort_keys=False)
    return text


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Yaml)  # a SafeLoader
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe; see recipes/ for the shipped ones") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path}: is not readable YAML: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of sections, not {type(tree).__name__}")
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    """Write `a.b=value` into the tree; the value is read as YAML."""
    key, sep, value = override.partition("=")
    names = key.strip().split(".")
    if not sep or not all(names):
        raise RecipeError(f"--set {override}: expected key=value, as in train.epochs=5")
    if names[0] == "publish":
        raise RecipeError(f"--set {override}: what may be released is said in a recipe file")
    node = tree
    for name in names[:-1]:
        child = node.setdefault(name, {})
        if not isinstance(child, dict):
            raise RecipeError(f"--set {override}: {name} is not a section")
        node = child
    try:
        node[names[-1]] = yaml.load(value, _Yaml)  # a SafeLoader
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}: the value is not YAML: {error}") from None


def _explain(error: Any) -> str:
    """One line of a pydantic error; an unknown key gets the nearest known one."""
    path = [str(part) for part in error["loc"]]
    if error["type"] != "extra_forbidden":
        return f"{'.'.join(path)}: {error['msg']} (got {error['input']!r})"
    near = difflib.get_close_matches(path[-1], _keys_at(path[:-1]), n=1, cutoff=0.5)
    everywhere = difflib.get_close_matches(".".join(path), _all_keys(Recipe), n=1, cutoff=0.5)
    hint = [".".join([*path[:-1], near[0]])] if near else everywhere
    return f"unknown key {'.'.join(path)}" + (f"; did you mean {hint[0]}?" if hint else "")


def _keys_at(path: Sequence[str]) -> list[str]:
    section: type[BaseModel] = Recipe
    for name in path:
        section = _sections(section)[name]
    return list(section.model_fields)


def _sections(section: type[BaseModel]) -> dict[str, type[BaseModel]]:
    kinds = {name: field.annotation for name, field in section.model_fields.items()}
    return {n: k for n, k in kinds.items() if isinstance(k, type) and issubclass(k, BaseModel)}


def _all_keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    keys = [prefix + name for name in section.model_fields]
    for name, child in _sections(section).items():
        keys.extend(_all_keys(child, f"{prefix}{name}."))
    return keys
