"""`orpheus-clone nodes`: the fleet in a terminal, once or as it lives."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from tests.commands import run
from tests.nodes import RunningNode
from tests.servers import answer, listening

NODE: dict[str, Any] = {
    "id": "node-a",
    "url": "http://10.0.0.7:8000",
    "phase": "ready",
    "pool": {"base_digest": "0123", "language": "en"},
    "load": {"sessions": 3, "slots": 4, "resident": {"jack@000000000000": 2, "ada@1": 0}},
    "version": "0.1.0",
    "cap": 5,
    "silent_s": 1.4,
}
COLUMNS = ["id", "phase", "language", "sessions", "slots", "voices", "version", "silent"]


class Fleet:
    """Something that answers as a node does; what it says may change while it is watched."""

    def __init__(self) -> None:
        self.node = NODE
        self.is_up = True
        self.asked = threading.Semaphore(0)
        self.url = ""

    @contextmanager
    def answering(self) -> Iterator["Fleet"]:
        fleet = self

        class Nodes(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps({"nodes": [fleet.node], "owners": {}}).encode()
                answer(self, 200 if fleet.is_up else 503, body)
                fleet.asked.release()

        with listening(Nodes) as self.url:
            yield self


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with Fleet().answering() as started:
        yield started


class Watching:
    """The command in a terminal of its own."""

    def __init__(self, url: str) -> None:
        self._screen, theirs = pty.openpty()
        command = [sys.executable, "-m", "orpheus_clone", "nodes", "--server", url]
        environment = {**os.environ, "COLUMNS": "160", "TERM": "xterm"}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        self.seen = ""

    def until(self, *wanted: str) -> None:
        """Read what is shown until each of these was."""
        while not all(want in self.seen for want in wanted):
            self.seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(self._screen, 4096).decode())

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        try:
            while block := os.read(self._screen, 4096):
                self.seen += block.decode()
        except OSError:  # as a terminal ends on Linux
            pass
        os.close(self._screen)
        return self.process.wait(30)


def test_a_fleet_is_shown_as_it_lives_until_somebody_has_seen_enough(fleet: Fleet) -> None:
    watching = Watching(fleet.url)
    watching.until("node-a", "ready", "3 of 5", "2 of 4", "jack 2, ada 0", "0.1.0", "1 s")
    fleet.node = NODE | {"phase": "draining"}
    watching.until("draining")
    fleet.is_up = False
    watching.until("answered 503")
    assert watching.stop() == 0
    assert "Traceback" not in watching.seen


def test_where_nobody_watches_it_is_shown_once(fleet: Fleet) -> None:
    done = run("nodes", "--server", fleet.url)
    assert (done.code, "node-a" in done.out) == (0, True)
    assert all(column in done.out for column in COLUMNS)
    assert fleet.asked.acquire(blocking=False)
    assert not fleet.asked.acquire(blocking=False)


def test_a_script_gets_all_that_a_node_says(node: RunningNode) -> None:
    said = run("nodes", "--server", node.url, "--json").json
    (alone,) = said["nodes"]
    assert said["node"] == alone["id"] == node.url
    assert (alone["phase"], alone["load"]["slots"]) == ("ready", 4)


def test_a_node_that_does_not_answer_is_said() -> None:
    done = run("nodes", "--server", "http://127.0.0.1:1")
    assert (done.code, "is the node up?" in done.said) == (6, True)
