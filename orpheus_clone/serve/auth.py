"""Bearer keys: who may speak and publish.

Keys come from the environment, never from the command line where `ps` shows them. Without keys a
node only binds to loopback.
"""

import hashlib
import hmac
import ipaddress
import os

from orpheus_clone.errors import RecipeError

VARIABLE = "ORPHEUS_CLONE_KEYS"
"""Comma-separated keys that a node accepts."""


class Keys:
    """The accepted keys, kept as hashes; accepts everything if there are none."""

    def __init__(self, keys: list[str]) -> None:
        self._hashes = [_hash(key) for key in keys]

    @classmethod
    def from_environment(cls) -> "Keys":
        """The keys in $ORPHEUS_CLONE_KEYS."""
        return cls([key.strip() for key in os.environ.get(VARIABLE, "").split(",") if key.strip()])

    @property
    def are_set(self) -> bool:
        """Whether a key is needed at all."""
        return bool(self._hashes)

    def accept(self, authorization: str | None) -> bool:
        """Whether an Authorization header names one of the keys, in constant time."""
        scheme, _, key = (authorization or "").partition(" ")
        offered = _hash(key.strip()) if scheme.lower() == "bearer" else b""
        matches = [hmac.compare_digest(offered, known) for known in self._hashes]
        return not self._hashes or any(matches)


def fingerprint(authorization: str | None) -> str | None:
    """What the log of a voice calls the key that moved it; None if no key was shown."""
    _, _, key = (authorization or "").partition(" ")
    return _hash(key.strip()).hex()[:8] if key.strip() else None


def check_host(host: str, keys: Keys) -> None:
    """RecipeError if a node without keys were to listen beyond this machine."""
    if not keys.are_set and not is_loopback(host):
        raise RecipeError(
            f"--host {host}: a node without keys only listens on loopback; set {VARIABLE}"
        )


def is_loopback(host: str) -> bool:
    """Whether an address or host name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
