"""A node's HTTP interface from the outside: what say, voices and publish call.

Errors are what the node named, with its words, or NodeError where it is the node that failed.
"""

import contextlib
import io
import json
import tarfile
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

import httpx

from orpheus_clone import bundle, errors
from orpheus_clone.bundle import Bundle
from orpheus_clone.errors import Busy, NodeError, OrpheusCloneError, RecipeError

TIMEOUT = httpx.Timeout(10.0, read=300.0)
"""Seconds; a node may take long to load a voice, but not to accept a connection."""


class NodeClient:
    """One node, by its URL; `key` is a bearer key where the node wants one."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._url = url.rstrip("/")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        if not self._url.startswith(("http://", "https://")):
            raise RecipeError(f"{url}: is not a node's URL; write http://NODE or https://NODE")
        try:
            base = httpx.URL(self._url)
        except httpx.InvalidURL as error:
            raise RecipeError(f"{url}: is not a URL: {error}; expected http://NODE") from None
        # A client a request, since nobody closes a NodeClient.
        self._open = partial(httpx.Client, base_url=base, headers=headers, timeout=TIMEOUT)

    def voices(self) -> list[dict[str, Any]]:
        """Every voice that the node can speak with."""
        found: list[dict[str, Any]] = self._json("GET", "/v1/audio/voices", "voices")["voices"]
        return found

    def nodes(self) -> dict[str, Any]:
        """The fleet as the node knows it: `nodes`, and `owners` of the published voices."""
        return self._json("GET", "/v1/nodes", "nodes")

    def speak(self, text: str, voice: str) -> Iterator[bytes]:
        """PCM of `text`, 24 kHz s16le mono, as it comes."""
        body = {"model": "orpheus", "input": text, "voice": voice, "response_format": "pcm"}
        with (
            self._errors(),
            self._open() as http,
            http.stream("POST", "/v1/audio/speech", json=body) as response,
        ):
            if response.is_error:
                response.read()
                raise _error(response)
            yield from response.iter_bytes()

    def publish(
        self,
        source: Bundle,
        *,
        share: float | None = None,
        by: str | None = None,
        why: str | None = None,
    ) -> dict[str, Any]:
        """Hand a bundle over; returns when the node speaks with it.

        With a `share`, 0 to 1, it is the canary of so many sessions. `by` and `why` go into the
        log of the voice.
        """
        return self._json(
            "POST",
            f"/v1/voices/{source.name}",
            "bundle",
            content=pack(source),
            params=_given(share=share, by=by, why=why),
        )

    def move(
        self,
        did: Literal["promote", "rollback"],
        voice: str,
        *,
        by: str | None = None,
        why: str | None = None,
    ) -> str | None:
        """Promote a voice's canary, or take back what came last; returns the bundle it means."""
        path = f"/v1/voices/{voice}/{did}"
        name = self._json("POST", path, "bundle", params=_given(by=by, why=why))["bundle"]
        return None if name is None else str(name)

    def unpublish(
        self, voice: str, *, forget: bool = False, by: str | None = None, why: str | None = None
    ) -> None:
        """Let a voice's name mean nothing; `forget` deletes its bundles too."""
        params = _given(forget="true" if forget else None, by=by, why=why)
        self._json("DELETE", f"/v1/voices/{voice}", "voice", params=params)

    def history(self, voice: str) -> list[dict[str, Any]]:
        """Every move of a voice's pointer, the last one last."""
        found: list[dict[str, Any]] = self._json("GET", f"/v1/voices/{voice}/history", "moves")[
            "moves"
        ]
        return found

    def _json(self, method: str, path: str, wanted: str, **request: Any) -> dict[str, Any]:
        """The answer, an object with the key `wanted`."""
        with self._errors(), self._open() as http:
            response = http.request(method, path, **request)
        if response.is_error:
            raise _error(response)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or wanted not in answer:
            raise NodeError(f"{self._url} does not answer as a node does; is it one?")
        return answer

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise NodeError(
                f"{self._url} does not answer ({error or type(error).__name__}); is the node up? "
                "orpheus-clone serve starts one"
            ) from error


def _given(**values: str | float | None) -> dict[str, str | float]:
    """Those that are given: httpx would send the others as empty."""
    return {name: value for name, value in values.items() if value is not None}


def pack(source: Bundle) -> bytes:
    """A bundle as an uncompressed tar with just its files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in bundle.FILES:
            tar.add(source.path / name, arcname=name, filter=_plain)
    return packed.getvalue()


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """No owner and no time: equal bundles are equal archives."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o644
    return entry


def _error(response: httpx.Response) -> OrpheusCloneError:
    """What the node refused, as the error it would be here; NodeError where that is not told."""
    try:
        error = response.json()["error"]
        said, kind = str(error["message"]), getattr(errors, str(error.get("type")), NodeError)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
        said, kind = response.text[:200] or response.reason_phrase, NodeError
    if not (isinstance(kind, type) and issubclass(kind, OrpheusCloneError)):
        kind = NodeError
    if response.is_server_error and kind is not Busy:
        kind = NodeError
    where = f"{response.url.host}:{response.url.port}"
    return kind(f"{where} answered {response.status_code}: {said}")
