"""A store in a directory, which may be shared by several machines.

store/.lock    held while a pointer is swapped; a killed process lets go of it
"""

import contextlib
import fcntl
import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orpheus_clone import disk
from orpheus_clone.errors import ArtifactError
from orpheus_clone.store.objects import LARGEST_LOG, Stored


@dataclass(frozen=True)
class DirectoryObjects:
    """See `Objects`."""

    root: Path

    @property
    def place(self) -> str:
        """The directory."""
        return str(self.root)

    def make(self) -> None:
        """Nothing: what is written makes it."""

    def read(self, key: str, most: int) -> Stored | None:
        """A file's content."""
        path = self.root / key
        try:
            with path.open("rb") as file:
                data = file.read(most + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from None
        if len(data) > most:
            raise ArtifactError(f"{path}: is larger than the {most} bytes that it may have")
        return Stored(data, hashlib.sha256(data).hexdigest())

    def add(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write a directory that appears whole or not at all."""
        with disk.atomic_dir(self.root / folder) as temporary:
            for name, data in files.items():
                (temporary / name).write_bytes(data)

    def swap(self, key: str, data: bytes, seen: str | None) -> bool:
        """Replace a file under the store's lock."""
        with self._locked():
            now = self.read(key, LARGEST_LOG)
            if (now.version if now else None) != seen:
                return False
            with disk.atomic_file(self.root / key) as temporary:
                temporary.write_bytes(data)
            return True

    def names(self, folder: str) -> list[str]:
        """Names in a directory, but what a killed write left behind, which begins with a dot."""
        path = self.root / folder
        if not path.is_dir():
            return []
        return sorted(entry.name for entry in path.iterdir() if entry.name[0] != ".")

    def remove(self, folder: str) -> None:
        """Remove a directory."""
        with disk.disk_errors(self.root), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.root / folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with disk.disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            with (self.root / ".lock").open("w", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
