"""Bundles and pointers, above whatever they are kept in."""

import getpass
import hashlib
import shutil
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from orpheus_clone import bundle, disk, layout, models
from orpheus_clone.bundle import Bundle, VoiceCard
from orpheus_clone.errors import ArtifactError, Busy
from orpheus_clone.store import pointer
from orpheus_clone.store.objects import LARGEST_LOG, Objects
from orpheus_clone.store.pointer import Did, Move, Pointer

_SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Seen:
    """A pointer as somebody read it, who may move it from there."""

    moves: tuple[Move, ...]
    version: str | None
    pointer: Pointer


@dataclass(frozen=True)
class Store:
    """Bundles and pointers."""

    objects: Objects

    def add(self, source: Bundle) -> Bundle:
        """Copy a bundle in, if it is not there yet, or not whole; returns the stored one."""
        files = {name: (source.path / name).read_bytes() for name in bundle.FILES}
        with suppress(ArtifactError):  # altered: copy it in
            if self._files(source.name) == files:
                return self.read(source.name)
        self.objects.add(f"bundles/{source.name}", files)
        return self.read(source.name)

    def restore(self, source: Bundle) -> None:
        """Copy a bundle in again if a voice was forgotten while it was released anew."""
        if not set(bundle.FILES) <= set(self.objects.names(f"bundles/{source.name}")):
            self.add(source)

    def read(self, name: str) -> Bundle:
        """A stored bundle, verified; from a cloud it is fetched once and kept in the cache."""
        if not layout.is_bundle_name(name):
            raise ArtifactError(f"{self.objects.place}: {name!r} is no bundle's name")
        if self.objects.root is not None:
            return bundle.read(self.objects.root / "bundles" / name)
        kept = self._cache / name
        with suppress(ArtifactError):
            return bundle.read(kept)
        with disk.atomic_dir(kept) as temporary:
            for file, most in bundle.LARGEST.items():
                stored = self.objects.read(f"bundles/{name}/{file}", most)
                if stored is None:
                    raise ArtifactError(f"{self.objects.place}: bundle {name} has no {file}")
                (temporary / file).write_bytes(stored.data)
        return bundle.read(kept)

    def card(self, name: str) -> VoiceCard:
        """What a stored bundle says of itself, for a list: its weights are not looked at."""
        key = f"bundles/{name}/{bundle.VOICE_FILE}"
        stored = self.objects.read(key, bundle.LARGEST[bundle.VOICE_FILE])
        if stored is None:
            raise ArtifactError(f"{self.objects.place}/{key} is missing; publish the voice again")
        return bundle.parse_card(stored.data, f"{self.objects.place}/{key}")

    def voices(self) -> list[str]:
        """The names that were ever published, sorted."""
        found = [name.removesuffix(_SUFFIX) for name in self.objects.names("voices")]
        return [name for name in found if layout.VOICE_NAME.fullmatch(name)]

    def pointer(self, voice: str) -> Pointer:
        """What a voice's name means."""
        return self.see(voice).pointer

    def see(self, voice: str) -> Seen:
        """A voice's pointer with all its moves."""
        key = _key(voice)
        stored = self.objects.read(key, LARGEST_LOG)
        if stored is None:
            return Seen((), None, Pointer(voice))
        moves = pointer.parse(stored.data, f"{self.objects.place}/{key}")
        last = moves[-1].pointer if moves else Pointer(voice)
        if last.voice != voice:
            raise ArtifactError(f"{self.objects.place}/{key}: is about voice {last.voice!r}")
        return Seen(moves, stored.version, last)

    def move(
        self, seen: Seen, did: Did, to: Pointer, by: str | None = None, why: str | None = None
    ) -> Pointer:
        """Make a name mean `to`; Busy if it is no longer what the caller has `seen`."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        move = Move(at, _plain(by) or whoever(), did, _plain(why), to)
        data = pointer.dump((*seen.moves, move))
        if self.objects.swap(_key(to.voice), data, seen.version):
            return to
        now = self.objects.read(_key(to.voice), LARGEST_LOG)
        if now is not None and now.data == data:  # an answer was lost, and the swap sent again
            return to
        last = self.see(to.voice).moves[-1:]
        who = f"{last[0].by} at {last[0].at} ({last[0].did})" if last else "somebody"
        raise Busy(
            f"voice {to.voice!r} was moved meanwhile by {who}, and nothing was changed; see "
            f"voices --history {to.voice}, and run the same command again if it is still meant"
        )

    def bundles(self, voice: str) -> list[str]:
        """Every bundle of a voice that is there, sorted, whether it was ever spoken with or not."""
        return [n for n in self.objects.names("bundles") if layout.is_bundle_name(n, voice)]

    def forget(self, voice: str, names: list[str]) -> None:
        """Remove bundles of a voice, from this machine's cache too; its log stays.

        `names` are those from before it was unpublished: what somebody brings after that is a new
        release, and so is what the pointer names again.
        """
        for name in names:
            if name not in self.pointer(voice).named:
                self._forget(voice, name)
        self.drop_unnamed(self.pointer(voice))

    def drop_unnamed(self, pointer: Pointer) -> None:
        """Remove from this machine's cache the bundles of a voice that its pointer does not name.

        A node elsewhere may have unpublished it.
        """
        for kept in self._cache.glob(f"{pointer.voice}@*"):
            if kept.name not in pointer.named:
                shutil.rmtree(kept, ignore_errors=True)

    @property
    def cached_voices(self) -> set[str]:
        """The voices of which this machine's cache holds a bundle."""
        return {kept.name.partition("@")[0] for kept in self._cache.glob("[a-z0-9]*@*")}

    @property
    def _cache(self) -> Path:
        """Where bundles are kept on this machine, if this store is a cloud."""
        place = hashlib.sha256(self.objects.place.encode()).hexdigest()[:12]
        return models.cache_dir() / "bundles" / place

    def _forget(self, voice: str, name: str) -> None:
        """Remove a bundle, and put it back if somebody released it anew in between."""
        files: dict[str, bytes] = {}
        with suppress(ArtifactError):  # what cannot be read goes all the same
            files = self._files(name)
        self.objects.remove(f"bundles/{name}")
        if name in self.pointer(voice).named:
            self.objects.add(f"bundles/{name}", files)

    def _files(self, name: str) -> dict[str, bytes]:
        """What the store itself, not this machine's cache of it, has of a bundle."""
        folder, most = f"bundles/{name}", bundle.LARGEST
        found = {file: self.objects.read(f"{folder}/{file}", most[file]) for file in bundle.FILES}
        return {file: stored.data for file, stored in found.items() if stored is not None}


def whoever() -> str:
    """user@host of this process, for the log."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _plain(text: str | None) -> str | None:
    """A text that can be written down, whatever a command line held."""
    return text.encode("utf-8", "replace").decode() if text else None


def _key(voice: str) -> str:
    return f"voices/{layout.checked_voice_name(voice)}{_SUFFIX}"
