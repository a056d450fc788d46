"""The way to a node, against a server that answers and one that does not."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from orpheus_clone.errors import NodeError, RecipeError
from orpheus_clone.eval import network


class Lively(BaseHTTPRequestHandler):
    """Answers /livez, on a connection that stays open."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, int]] = []  # noqa: RUF012 - of the one server of a test

    def do_GET(self) -> None:
        self.asked.append((self.path, self.client_address[1]))
        self.send_response(200 if self.path == "/livez" else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002


@contextmanager
def lively() -> Iterator[str]:
    """Its URL."""
    server = HTTPServer(("127.0.0.1", 0), Lively)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    Lively.asked.clear()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def url() -> Iterator[str]:
    with lively() as there:
        yield there


def test_a_round_trip_is_measured_on_one_connection(url: str) -> None:
    assert network.round_trip_ms(url) > 0
    assert len(Lively.asked) == 1 + network.TRIPS
    assert {path for path, _ in Lively.asked} == {"/livez"}
    assert len({port for _, port in Lively.asked}) == 1


def test_what_is_no_node_is_named(url: str) -> None:
    with pytest.raises(NodeError, match=r"--node .* does not answer .*404"):
        network.round_trip_ms(url + "/elsewhere")
    with pytest.raises(NodeError, match="is the node up"):
        network.round_trip_ms("http://127.0.0.1:9")
    with pytest.raises(RecipeError, match="write http://NODE"):
        network.round_trip_ms("ftp://node")
