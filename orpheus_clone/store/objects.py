"""What a store is kept in: the smallest interface that a directory and every cloud have."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

LARGEST_LOG = 16 * 2**20
"""Bytes of a pointer and all its moves: about twenty thousand of them."""


@dataclass(frozen=True)
class Stored:
    """An object's content, and what tells it from what was there before."""

    data: bytes
    version: str


class Objects(Protocol):
    """Objects by key, as `voices/jack.jsonl`; StoreError or MachineError where that fails."""

    @property
    def place(self) -> str:
        """Where it is, as people write it."""
        ...

    @property
    def root(self) -> Path | None:
        """Where the objects are files on this machine, if they are."""
        ...

    def make(self) -> None:
        """Make the place, where it can be made and is not there; before the first pointer."""
        ...

    def read(self, key: str, most: int) -> Stored | None:
        """An object of at most `most` bytes; None if there is none."""
        ...

    def add(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write files into a folder: all at once where that can be done, else in this order."""
        ...

    def swap(self, key: str, data: bytes, seen: str | None) -> bool:
        """Write an object if its version is still `seen` (None: if there is none); else False."""
        ...

    def names(self, folder: str) -> list[str]:
        """What lies directly in a folder, sorted."""
        ...

    def remove(self, folder: str) -> None:
        """Remove a folder and all in it; nothing happens if it is not there."""
        ...
