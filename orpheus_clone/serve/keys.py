"""Keys that clients show: made once, kept as hashes, one JSON object a line of the keys file.

    {"name": "web", "sha256": "9f86…", "scopes": ["speak"], "sessions_per_minute": 60}

A key is 256 random bits, so its plain SHA-256 tells nothing of it; the file is no secret. It is
read when a node starts: a key is taken back by taking its line out and starting the nodes again,
one after the other.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orpheus_clone import disk
from orpheus_clone.errors import RecipeError

VARIABLE = "ORPHEUS_CLONE_KEYS"
"""The keys file, where no --keys is given."""
PREFIX = "oc_"
"""So that whoever scans for leaked secrets finds one."""


class Scope(StrEnum):
    """What a key is good for."""

    SPEAK = "speak"
    """Make sound, and list voices and models."""
    PUBLISH = "publish"
    """Publish, promote, roll back and unpublish voices, and see who did."""
    OPERATE = "operate"
    """See the fleet."""


class Key(BaseModel):
    """A line of the keys file. Limits are each node's own: of the sessions that begin there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    sessions_per_minute: int | None = Field(None, ge=1)
    sessions: int | None = Field(None, ge=1)
    """At a time."""


def hashed(key: str) -> str:
    """SHA-256 of a key, in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def checked_scope(name: str) -> Scope:
    """The scope of that name; RecipeError for any other."""
    try:
        return Scope(name)
    except ValueError:
        raise RecipeError(f"--scope {name}: expected {', '.join(Scope)}") from None


def made(
    name: str,
    scopes: Iterable[Scope],
    *,
    sessions_per_minute: int | None = None,
    sessions: int | None = None,
) -> tuple[str, Key]:
    """A new key, as the client gets it and as the file holds it; RecipeError for a bad name."""
    secret = PREFIX + secrets.token_urlsafe(32)
    try:
        key = Key(
            name=name,
            sha256=hashed(secret),
            scopes=tuple(dict.fromkeys(scopes)),
            sessions_per_minute=sessions_per_minute,
            sessions=sessions,
        )
    except ValidationError as error:
        raise RecipeError(f"key {name!r}: {_first(error)}") from None
    return secret, key


def read(path: Path) -> list[Key]:
    """The keys of a file; RecipeError names the file's line, never what it holds."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        # What stands in the variable may be a key, taken for the file's name.
        raise RecipeError(
            f"--keys or {VARIABLE}: no such file can be read; orpheus-clone key NAME --keys FILE "
            "makes one"
        ) from None
    keys = [_key(line, f"{path}:{i}") for i, line in enumerate(lines, 1) if line.strip()]
    names = [key.name for key in keys]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or not keys:
        what = f"two keys are called {twice!r}" if twice else "it holds no key"
        raise RecipeError(f"{path}: {what}; orpheus-clone key NAME --keys FILE adds one")
    return keys


def add(path: Path, key: Key) -> None:
    """Append a key to a file, which need not exist; RecipeError if its name is taken."""
    if path.exists() and any(known.name == key.name for known in read(path)):
        raise RecipeError(f"{path} holds a key {key.name!r}; choose another name, or take it out")
    with disk.disk_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(key.model_dump(mode="json", exclude_none=True)) + "\n")


def _key(line: str, where: str) -> Key:
    try:
        return Key.model_validate_json(line)
    except ValidationError as error:
        raise RecipeError(f"{where}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the line'}: {first['msg']}"
