"""Bearer keys: who may speak and publish.

Keys come from the environment, never from the command line where `ps` shows them. Without keys a
node only binds to loopback.
"""

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping

from pydantic import SecretStr

from orpheus_clone.errors import RecipeError

VARIABLE = "ORPHEUS_CLONE_KEYS"
"""Comma-separated keys that a node accepts."""

SECRET_VARIABLE = "ORPHEUS_CLONE_NODE_SECRET"
SECRET_HEADER = "x-orpheus-clone-node-secret"
SHORTEST_SECRET = 16
"""Characters."""


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


class NodeSecret:
    """What the nodes of a fleet know each other by.

    A request that bears it was let in by the node that sent it, and what its internal headers say
    is true. Without a secret every request is taken for a node's: `check_secret` lets such a fleet
    only be on one machine.
    """

    def __init__(self, secret: str | None) -> None:
        self._secret = SecretStr(secret or "")

    @classmethod
    def from_environment(cls) -> "NodeSecret":
        """The secret in $ORPHEUS_CLONE_NODE_SECRET; RecipeError if it could be guessed."""
        secret = os.environ.get(SECRET_VARIABLE, "").strip()
        if secret and len(secret) < SHORTEST_SECRET:
            raise RecipeError(
                f"{SECRET_VARIABLE} has fewer than {SHORTEST_SECRET} characters; make one with "
                "openssl rand -hex 32"
            )
        return cls(secret)

    @property
    def is_set(self) -> bool:
        """Whether nodes can be told from clients."""
        return bool(self._secret.get_secret_value())

    def headers(self) -> dict[str, str]:
        """What a request to another node bears."""
        return {SECRET_HEADER: self._secret.get_secret_value()} if self.is_set else {}

    def accepts(self, headers: Mapping[str, str]) -> bool:
        """Whether a node of the fleet sent a request with these headers, in constant time."""
        offered = _hash(headers.get(SECRET_HEADER, ""))
        known = _hash(self._secret.get_secret_value())
        return hmac.compare_digest(offered, known) or not self.is_set


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


def check_secret(host: str, redis_url: str | None, secret: NodeSecret) -> None:
    """RecipeError if a node of a fleet without a secret were to listen beyond this machine."""
    if redis_url is not None and not secret.is_set and not is_loopback(host):
        raise RecipeError(
            f"--host {host} and --redis-url: nodes on several machines must know each other; set "
            f"the same {SECRET_VARIABLE} on all of them (openssl rand -hex 32)"
        )


def is_loopback(host: str) -> bool:
    """Whether an address or host name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
