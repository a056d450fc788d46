"""Recipes: strict, frozen settings read from YAML, with `--set key=value` on top.

    Recipe
    ├── judges    who listens: words, voices, sound
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
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from orpheus_clone import disk
from orpheus_clone.errors import RecipeError
from orpheus_clone.recipe.judging import Judges
from orpheus_clone.recipe.preparing import Limits, Prepare
from orpheus_clone.recipe.proving import Eval, Gates, Publish
from orpheus_clone.recipe.section import Section
from orpheus_clone.recipe.speaking import Sampling
from orpheus_clone.recipe.training import Lora, Selection, Train

__all__ = [
    "Eval", "Gates", "Judges", "Limits", "Lora", "Prepare", "Publish", "Recipe", "Sampling",
    "Selection", "Train", "dump", "load", "parse", "proof_digest",
]  # fmt: skip


class Recipe(Section):
    """Everything that can be chosen about making a voice."""

    judges: Judges = Judges()
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
    return disk.sha256_json([recipe.eval.model_dump(), recipe.sampling.model_dump()])


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
