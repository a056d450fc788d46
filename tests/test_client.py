"""The client's side of a node: what it sends, and what it makes of answers that are none."""

import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from orpheus_clone import bundle, client
from orpheus_clone.client import NodeClient
from orpheus_clone.errors import (
    ArtifactError,
    Busy,
    NodeError,
    OrpheusCloneError,
    RecipeError,
    TextError,
    UnknownVoice,
)
from orpheus_clone.layout import RunDir
from tests.bundles import made
from tests.servers import answer, listening


def test_equal_bundles_are_equal_archives(run_dir: RunDir, tmp_path: Path) -> None:
    one, two = made(run_dir, tmp_path / "one"), made(run_dir, tmp_path / "two")
    for path in two.path.iterdir():
        path.chmod(0o600)
        os.utime(path, (1, 1))
    assert client.pack(one) == client.pack(two)


def test_an_archive_holds_just_the_files_of_a_bundle(run_dir: RunDir, tmp_path: Path) -> None:
    source = made(run_dir, tmp_path)
    with tarfile.open(fileobj=io.BytesIO(client.pack(source))) as tar:
        entries = tar.getmembers()
        assert tuple(entry.name for entry in entries) == bundle.FILES
        assert all(entry.isreg() and entry.mode == 0o644 and not entry.uname for entry in entries)
        for entry in entries:
            content = tar.extractfile(entry)
            assert content is not None
            assert content.read() == (source.path / entry.name).read_bytes()


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Something that is no node and gives one answer to everything."""

    class Same(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, status, body)

        do_POST = do_GET  # noqa: N815

    with listening(Same) as url:
        yield url


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"", b"[]", b'{"data": []}'])
def test_something_that_is_no_node_is_told_from_one(body: bytes) -> None:
    with answering(200, body) as url, pytest.raises(NodeError, match="is it one"):
        NodeClient(url).voices()


def test_an_error_that_is_no_json_is_shown(body: bytes = b"<html>bad gateway</html>") -> None:
    with answering(502, body) as url, pytest.raises(NodeError, match="answered 502: <html>bad"):
        NodeClient(url).voices()


@pytest.mark.parametrize(
    ("status", "kind", "raised"),
    [
        (404, "UnknownVoice", UnknownVoice),
        (400, "TextError", TextError),
        (409, "ArtifactError", ArtifactError),
        (503, "ArtifactError", NodeError),
        (503, "Busy", Busy),
        (400, "invalid_request_error", NodeError),
        (400, "annotations", NodeError),
    ],
)
def test_what_a_node_refuses_is_the_error_that_it_would_be_here(
    status: int, kind: str, raised: type[OrpheusCloneError]
) -> None:
    body = json.dumps({"error": {"message": "no", "type": kind}}).encode()
    with answering(status, body) as url, pytest.raises(OrpheusCloneError, match="no") as caught:
        NodeClient(url).voices()
    assert type(caught.value) is raised


@pytest.mark.parametrize("url", ["localhost:8000", "node", "ftp://node", ""])
def test_a_url_without_http_says_how_to_write_it(url: str) -> None:
    with pytest.raises(RecipeError, match="write http://NODE"):
        NodeClient(url)


def test_an_error_while_speaking_is_shown() -> None:
    body = b'{"error": {"message": "there is no voice \'x\'"}}'
    with answering(404, body) as url, pytest.raises(NodeError, match="404: there is no voice 'x'"):
        list(NodeClient(url).speak("Hello.", "x"))


def test_a_node_that_is_not_up_is_named_with_the_command_that_starts_one() -> None:
    with answering(200, b"") as url:
        pass
    with pytest.raises(NodeError, match=rf"{url} does not answer .* orpheus-clone serve"):
        NodeClient(url).voices()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "nonsense", "http://", "http://[::1"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises((RecipeError, NodeError)):
        NodeClient(url).voices()
