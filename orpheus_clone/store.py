"""The adapter store: bundles, and the pointers that say which one a voice's name means.

    store/
      bundles/jack@4f1c2a9be07d/    immutable, verified when it is read
      voices/jack.json              {"voice": "jack", "bundles": ["jack@…", …]}  the last is current
      .lock                         held while a pointer moves

Pointers live here and nowhere else. The directory may be shared by several nodes. A pointer is
one small file that is replaced as a whole: a reader sees the old or the new, never half of one.
"""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orpheus_clone import bundle, layout
from orpheus_clone.bundle import Bundle
from orpheus_clone.errors import ArtifactError, Busy, UnknownVoice


@dataclass(frozen=True)
class Store:
    """A directory of bundles and pointers."""

    root: Path

    def add(self, source: Bundle) -> Bundle:
        """Copy a bundle in, if it is not there yet, or not whole; returns the stored one."""
        final = self._bundles / source.name
        with contextlib.suppress(ArtifactError):  # not there, or altered: copy it in
            return bundle.read(final)
        with layout.atomic_dir(final) as temporary:
            for name in bundle.FILES:
                shutil.copyfile(source.path / name, temporary / name)
        return bundle.read(final)

    def point(self, voice: str, name: str) -> None:
        """Make the voice's name mean the stored bundle `name`."""
        with self._locked():
            history = [n for n in self.history(voice) if n != name]
            self._write(voice, [*history, name])

    def rollback(self, voice: str, seen: list[str] | None = None) -> str:
        """Make the name mean what it meant before; returns that bundle's name.

        `seen` is the history that the caller decided on: if it has moved on since, nothing is done.
        """
        with self._locked():
            history = self.history(voice)
            if seen is not None and seen != history:
                raise Busy(f"voice {voice!r} was published meanwhile; roll back again if meant")
            if not history:
                raise UnknownVoice(f"{self.root} holds no voice {voice!r}")
            if len(history) < 2:
                raise ArtifactError(f"voice {voice!r} has no earlier bundle to go back to")
            # The bundle that is left stays in the store, for whoever wants to know what failed.
            self._write(voice, history[:-1])
            return history[-2]

    def voices(self) -> list[str]:
        """The names that mean something, sorted."""
        names = [path.stem for path in self._pointers.glob("*.json")]
        # What a killed write left behind begins with a dot.
        return sorted(name for name in names if layout.VOICE_NAME.fullmatch(name))

    def history(self, voice: str) -> list[str]:
        """Names of the voice's bundles, the current one last; empty for an unknown voice."""
        layout.checked_voice_name(voice)
        path = self._pointers / f"{voice}.json"
        if not path.is_file():
            return []
        return [str(name) for name in layout.read_json(path, "publish the voice again")["bundles"]]

    def current(self, voice: str) -> str | None:
        """The name of the bundle that the voice's name means."""
        history = self.history(voice)
        return history[-1] if history else None

    def read(self, name: str) -> Bundle:
        """A stored bundle, verified."""
        return bundle.read(self._bundles / name)

    @property
    def _bundles(self) -> Path:
        return self.root / "bundles"

    @property
    def _pointers(self) -> Path:
        return self.root / "voices"

    def _write(self, voice: str, history: list[str]) -> None:
        layout.write_json(self._pointers / f"{voice}.json", {"voice": voice, "bundles": history})

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with layout.disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            with (self.root / ".lock").open("w", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
