"""doctor: what this machine can do, and what it lacks."""

import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from orpheus_clone import models
from orpheus_clone.engine.base import hardware_name

_PACKAGES = {
    "torch": "every command needs it",
    "snac": "every command needs it",
    "transformers": "every command needs it",
    "peft": "train, and the hf engine with adapters: pip install 'orpheus-clone[train]'",
    "datasets": "prepare and train: pip install 'orpheus-clone[train]'",
    "faster-whisper": "prepare hears words with it: pip install 'orpheus-clone[judges]'",
    "speechmos": "prepare rates sound with it: pip install 'orpheus-clone[judges]'",
    "ray": "prepare --manifest: pip install 'orpheus-clone[ray]'",
    "fastapi": "serve: pip install 'orpheus-clone[serve]'",
    "redis": "serve with --redis-url: pip install 'orpheus-clone[serve]'",
    "vllm": "the fast engine: pip install 'orpheus-clone[gpu]' (GPU) or `make install` (CPU)",
}
_NEEDED = ("torch", "snac", "transformers")
_LOW_DISK_GB = 20


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    found: str
    means: str
    is_fatal: bool = False


def examine() -> list[Check]:
    """Everything that decides what works here."""
    return [
        Check("python", platform.python_version(), ""),
        *(_package(name, means) for name, means in _PACKAGES.items()),
        _hardware(),
        _disk(),
        *(_base(known) for known in models.KNOWN.values()),
    ]


def _package(name: str, means: str) -> Check:
    for distribution in (name, f"{name}-cpu"):
        try:
            return Check(name, version(distribution), "")
        except PackageNotFoundError:
            continue
    return Check(name, "missing", means, is_fatal=name in _NEEDED)


def _hardware() -> Check:
    name = hardware_name()
    means = "nano only: Orpheus-3B in real time wants a GPU" if name.startswith("CPU") else ""
    return Check("hardware", name, means)


def _disk() -> Check:
    place = models.cache_dir()
    existing = next(path for path in (place, *place.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    means = "little for a 3B base and its runs" if free < _LOW_DISK_GB else ""
    return Check("free disk", f"{free:.0f} GB at {place}", means)


def _base(known: models.Known) -> Check:
    found = "here" if models.is_here(known) else "not here yet"
    return Check(f"base {known.name}", found, known.licence)
