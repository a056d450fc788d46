"""Who may do what: keys that clients show, and the secret by which nodes know each other.

    without keys      everybody may do everything, and the node only listens on loopback
    with keys         a key's scopes, and its limits: sessions a minute and at a time, on this node
    a node's request  was let in by the node that sent it; its client is not asked again

Secrets come from the environment, never from the command line where `ps` shows them.
"""

import contextlib
import hmac
import ipaddress
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from pydantic import SecretStr

from orpheus_clone.errors import Busy, RecipeError
from orpheus_clone.serve.keys import VARIABLE, Key, Scope, hashed
from orpheus_clone.serve.limits import Rate

SECRET_VARIABLE = "ORPHEUS_CLONE_NODE_SECRET"
SECRET_HEADER = "x-orpheus-clone-node-secret"
SHORTEST_SECRET = 16
"""Characters."""
BETWEEN_NODES = "/v1/nodes/"
"""How the paths begin that are for nodes alone, where they can be told from clients."""
MINUTE = 60.0
SOON_SECONDS = 2
"""After which a session of one's own may have ended."""


class Keys:
    """The accepted keys, as hashes; accepts everything if there are none."""

    def __init__(self, keys: Sequence[Key], clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = list(keys)
        self._live = Counter[str]()
        self._rates = {
            key.name: Rate(key.sessions_per_minute, clock, MINUTE)
            for key in keys
            if key.sessions_per_minute
        }

    @property
    def are_set(self) -> bool:
        """Whether a key is needed at all."""
        return bool(self._keys)

    def find(self, authorization: str | None) -> Key | None:
        """The key that an Authorization header names, in constant time; None for any other."""
        scheme, _, offered = (authorization or "").partition(" ")
        digest = hashed(offered.strip()) if scheme.lower() == "bearer" else ""
        found = [key for key in self._keys if hmac.compare_digest(digest, key.sha256)]
        return found[0] if found else None

    @contextlib.contextmanager
    def session(self, key: Key) -> Iterator[None]:
        """One session more of a key, counted until the block ends; Busy beyond its limits."""
        rate = self._rates.get(key.name)
        if key.sessions is not None and self._live[key.name] >= key.sessions:
            raise Busy(f"the key {key.name!r} has its {key.sessions} sessions open", SOON_SECONDS)
        if rate is not None and not rate.allows():
            most = f"{key.sessions_per_minute} sessions a minute"
            raise Busy(
                f"the key {key.name!r} has begun its {most}",
                max(1, math.ceil(round(rate.wait_s, 3))),
            )
        self._live[key.name] += 1
        try:
            yield
        finally:
            self._live[key.name] -= 1


def wanted_scopes(path: str) -> tuple[Scope, ...]:
    """What a key must be good for, one of them; of what is not listed here, only an operator's is.

    Who publishes looks first at what is there.
    """
    lists = ("/v1/models", "/v1/voices", "/v1/audio/voices")
    speaks = ("/v1/audio/speech", "/v1/text-to-speech/", BETWEEN_NODES)
    if path in lists:
        return (Scope.SPEAK, Scope.PUBLISH)
    if path.startswith(speaks):
        return (Scope.SPEAK,)
    return (Scope.PUBLISH,) if path.startswith("/v1/voices/") else (Scope.OPERATE,)


class NodeSecret:
    """What the nodes of a fleet know each other by.

    A request that bears it was let in by the node that sent it, and what its internal headers say
    is true. Without a secret every request is taken for a node's: `check_secret` lets such a fleet
    only be on one machine and without keys.
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
        offered = hashed(headers.get(SECRET_HEADER, ""))
        known = hashed(self._secret.get_secret_value())
        return hmac.compare_digest(offered, known) or not self.is_set


def check_host(host: str, keys: Keys) -> None:
    """RecipeError if a node without keys were to listen beyond this machine."""
    if not keys.are_set and not is_loopback(host):
        raise RecipeError(
            f"--host {host}: a node without keys only listens on loopback; give it --keys FILE or "
            f"{VARIABLE} (orpheus-clone key NAME --keys FILE makes one)"
        )


def check_secret(host: str, redis_url: str | None, secret: NodeSecret, keys: Keys) -> None:
    """RecipeError for a fleet without a secret that has keys, or listens beyond this machine."""
    if redis_url is not None and not secret.is_set and (keys.are_set or not is_loopback(host)):
        raise RecipeError(
            f"--host {host} and --redis-url: nodes with keys, or on several machines, must know "
            f"each other; set the same {SECRET_VARIABLE} on all of them (openssl rand -hex 32)"
        )


def is_loopback(host: str) -> bool:
    """Whether an address or host name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
