"""A store in a model repository of the Hugging Face Hub, private unless it is there already.

    hf://user/voices     the token is HF_TOKEN's, or what `hf auth login` left

A bundle is one commit, so it is there as a whole or not. A pointer is swapped by a commit that
names its parent: where another came first, the hub refuses it, and the pointer is read again.

Shown through `huggingface_hub` against a small hub of our own; not tried by us on the real one.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from orpheus_clone.errors import ArtifactError, RecipeError, StoreError
from orpheus_clone.store.objects import LARGEST_LOG, Stored

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_TRIES = 5
"""Commits of other voices that may come in between before a swap gives up."""
_OVERTAKEN = 412
_ANSWER_SECONDS = 3.0
"""For what the hub knows of a repository or a file."""


def _api() -> "HfApi":
    from huggingface_hub import HfApi

    return HfApi()


@dataclass(frozen=True)
class HubObjects:
    """See `Objects`."""

    place: str
    repo: str
    _hub: "HfApi" = field(default_factory=_api)
    root: None = None

    @classmethod
    def at(cls, place: str) -> "HubObjects":
        """The store of hf://USER/REPO."""
        repo = place.removeprefix("hf://").rstrip("/")
        if repo.count("/") != 1:
            raise RecipeError(f"{place}: expected hf://USER/REPO")
        return cls(place, repo)

    def make(self) -> None:
        """Make a private repository, unless it is there."""
        with self._errors():
            self._hub.create_repo(self.repo, private=True, exist_ok=True)

    def read(self, key: str, most: int) -> Stored | None:
        """A file at the head of the repository."""
        return self._read(key, most, self._head())

    def add(self, folder: str, files: Mapping[str, bytes]) -> None:
        """One commit."""
        from huggingface_hub import CommitOperationAdd

        with self._errors():
            added = [CommitOperationAdd(f"{folder}/{name}", data) for name, data in files.items()]
            self._commit(added, f"add {folder}", None)

    def swap(self, key: str, data: bytes, seen: str | None) -> bool:
        """A commit on top of the one in which the file was as it was seen."""
        from huggingface_hub import CommitOperationAdd
        from huggingface_hub.errors import HfHubHTTPError

        for _ in range(_TRIES):
            head = self._head()
            now = self._read(key, LARGEST_LOG, head)
            if (now.version if now else None) != seen:
                return False
            with self._errors():
                try:
                    self._commit([CommitOperationAdd(key, data)], f"move {key}", head)
                    return True
                except HfHubHTTPError as error:
                    if error.response.status_code != _OVERTAKEN:
                        raise
        raise StoreError(f"{self.place}: other voices are published all the time; run it again")

    def names(self, folder: str) -> list[str]:
        """What lies in a folder at the head."""
        from huggingface_hub.errors import EntryNotFoundError

        with self._errors():
            try:
                found = list(self._hub.list_repo_tree(self.repo, folder))
            except EntryNotFoundError:
                return []
        return sorted(entry.path.rpartition("/")[2] for entry in found)

    def remove(self, folder: str) -> None:
        """One commit; the repository's history still holds the files."""
        from huggingface_hub import CommitOperationDelete

        if self.names(folder):
            with self._errors():
                self._commit([CommitOperationDelete(f"{folder}/")], f"remove {folder}", None)

    def _head(self) -> str:
        """The newest commit.

        The hub says of a private repository that a token may not see that it is not there, so one
        that is not there is never taken for an empty one.
        """
        with self._errors():
            return str(self._hub.repo_info(self.repo, timeout=_ANSWER_SECONDS).sha)

    def _read(self, key: str, most: int, head: str) -> Stored | None:
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        # Not through the hub's cache, in which a voice would outlive being forgotten.
        with self._errors(), TemporaryDirectory() as folder:
            try:
                path = self._hub.hf_hub_download(
                    self.repo, key, revision=head, local_dir=folder, etag_timeout=_ANSWER_SECONDS
                )
            except LocalEntryNotFoundError:  # the hub cannot be reached
                raise
            except EntryNotFoundError:
                return None
            data = Path(path).read_bytes()
        if len(data) > most:
            raise ArtifactError(f"{self.place}/{key}: is larger than {most} bytes")
        return Stored(data, hashlib.sha256(data).hexdigest())

    def _commit(self, operations: Sequence[Any], message: str, parent: str | None) -> None:
        self._hub.create_commit(self.repo, operations, commit_message=message, parent_commit=parent)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        # Of whichever HTTP library this version of the package is built on.
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

        try:
            yield
        except (OSError, ValueError, HTTPError) as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise StoreError(
                f"{self.place}: {said}; is HF_TOKEN set, and may it read and write that "
                f"repository? If there is none yet, publish --to {self.place} makes it"
            ) from error
