"""Keys as the keys file holds them, of secrets that a test knows."""

from pathlib import Path

from orpheus_clone.serve import keys
from orpheus_clone.serve.keys import Key, Scope


def known(
    secret: str,
    name: str = "test",
    scopes: tuple[Scope, ...] = tuple(Scope),
    *,
    sessions_per_minute: int | None = None,
    sessions: int | None = None,
) -> Key:
    """The key of a secret; good for everything if nothing else is said."""
    return Key(
        name=name,
        sha256=keys.hashed(secret),
        scopes=scopes,
        sessions_per_minute=sessions_per_minute,
        sessions=sessions,
    )


def keys_file(path: Path, *entries: Key) -> Path:
    """A keys file."""
    for entry in entries:
        keys.add(path, entry)
    return path
