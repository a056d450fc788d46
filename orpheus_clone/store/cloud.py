"""A store in S3, Google Cloud Storage or Azure, or in anything that speaks one of their tongues.

    s3://bucket/prefix      AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT, …
    gs://bucket/prefix      GOOGLE_APPLICATION_CREDENTIALS, or the machine's own account
    az://account/container/prefix        AZURE_STORAGE_ACCOUNT_KEY, or the machine's own account

Pointers are swapped by conditional writes (If-Match, If-None-Match), so no lock is needed. Shown
against an S3 server; on the other two it is the same calls, not tried by us.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from orpheus_clone.errors import ArtifactError, StoreError
from orpheus_clone.store.objects import Stored

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_RETRIES: Any = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}
_ANSWER_SECONDS = 3.0
"""For a small object, as a pointer is, from the request to its last byte."""
_SMALL = 16 * 2**20
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
"""What S3 and Google Cloud Storage, and Azure, say of one; as a status, both are 404."""
_CLIENT: Any = {"allow_http": True, "connect_timeout": timedelta(seconds=3)}
"""A server of one's own is often inside the house, without a certificate."""


@dataclass(frozen=True)
class CloudObjects:
    """See `Objects`."""

    place: str
    _store: "ObjectStore"
    _quick: "ObjectStore"
    """The same, for small objects."""
    root: None = None

    @classmethod
    def at(cls, place: str, answer_s: float = _ANSWER_SECONDS) -> "CloudObjects":
        """The store at a URL."""
        from obstore.store import from_url

        with _errors(place):
            store = from_url(place, retry_config=_RETRIES, client_options=_CLIENT)
            soon: Any = timedelta(seconds=answer_s)
            retries: Any = _RETRIES | {"retry_timeout": soon}
            client = _CLIENT | {"timeout": soon}
            quick = from_url(place, retry_config=retries, client_options=client)
        return cls(place, store, quick)

    def make(self) -> None:
        """Nothing: a bucket has more to it than a name."""

    def read(self, key: str, most: int) -> Stored | None:
        """An object's content."""
        import obstore

        with _errors(self.place):
            try:
                found = obstore.get(self._quick if most <= _SMALL else self._store, key)
            except FileNotFoundError as error:
                if any(code in str(error) for code in _NO_BUCKET):
                    raise
                return None
            size = int(found.meta["size"])
            if size > most:
                raise ArtifactError(f"{self.place}/{key}: has {size} bytes, at most {most}")
            return Stored(bytes(found.bytes()), _version(found.meta))

    def add(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write objects one after the other."""
        import obstore

        with _errors(self.place):
            for name, data in files.items():
                obstore.put(self._store, f"{folder}/{name}", data)

    def swap(self, key: str, data: bytes, seen: str | None) -> bool:
        """A conditional write."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mode: Any = "create" if seen is None else json.loads(seen)
        try:
            with _errors(self.place):
                obstore.put(self._store, key, data, mode=mode, use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    def names(self, folder: str) -> list[str]:
        """Names of what lies below a prefix, up to the next slash."""
        import obstore

        with _errors(self.place):
            found = obstore.list_with_delimiter(self._store, folder + "/")
        paths = [*found["common_prefixes"], *(meta["path"] for meta in found["objects"])]
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def remove(self, folder: str) -> None:
        """Delete all objects below a prefix."""
        import obstore

        with _errors(self.place):
            for batch in obstore.list(self._store, folder + "/"):
                obstore.delete(self._store, [meta["path"] for meta in batch])


def _version(meta: Any) -> str:
    """What a conditional write names: an ETag, and where there is one, a generation."""
    return json.dumps({name: meta[name] for name in ("e_tag", "version") if meta.get(name)})


@contextlib.contextmanager
def _errors(place: str) -> Iterator[None]:
    """What a cloud refuses, as StoreError; conditions that do not hold go through."""
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    try:
        yield
    except (AlreadyExistsError, PreconditionError):
        raise
    except (BaseError, PermissionError, FileNotFoundError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StoreError(
            f"{place}: {said}; is the bucket there, and may these credentials read and write it?"
        ) from error
