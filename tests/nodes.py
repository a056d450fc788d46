"""Nodes in processes of their own, as `orpheus-clone serve` starts them."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from openai import OpenAI

from orpheus_clone.client import NodeClient
from tests.waiting import eventually

STOP_SECONDS = 40


@dataclass(frozen=True)
class RunningNode:
    """A node that speaks."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    openai: OpenAI
    store: Path | str
    key: str | None = None

    @property
    def client(self) -> NodeClient:
        return NodeClient(self.url, self.key)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=headers, timeout=60)

    def post(self, path: str, content: bytes = b"", **headers: str) -> httpx.Response:
        return httpx.post(self.url + path, content=content, headers=headers, timeout=60)

    def speak(self, text: str, voice: str, **more: object) -> httpx.Response:
        """The bare request, for what OpenAI's client would not send."""
        body = {"model": "nano", "input": text, "voice": voice, "response_format": "wav", **more}
        return httpx.post(f"{self.url}/v1/audio/speech", json=body, timeout=120)

    def figure(self, name: str) -> float:
        """A figure of /metrics."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").text, re.MULTILINE)
        assert found is not None, name
        return float(found.group(1))

    def stop(self) -> int:
        """Ask it to stop, as `docker stop` does; returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextlib.contextmanager
def running(
    folder: Path,
    *arguments: str,
    engine: str = "hf",
    store: Path | str | None = None,
    environment: Mapping[str, str] | None = None,
    key: str | None = None,
    program: Sequence[str] = ("-m", "orpheus_clone"),
    admits_all: bool = True,
) -> Iterator[RunningNode]:
    """A node of nano on a free port; stopped at the end, if it still runs.

    It takes everybody, however slow the machine is now, unless it is not to be one that
    `admits_all`.
    """
    store = store or folder / "store"
    where = ["--base", "nano", "--port", "0", "--store", str(store)]
    how = ["--engine", engine, "--json", *(["--admit-all"] if admits_all else [])]
    log = folder / "node.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, *program, "serve", *where, *how, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **(environment or {})},
        )
    assert process.stdout is not None
    with process.stdout:
        try:
            line = process.stdout.readline()
            assert line, log.read_text(encoding="utf-8")
            url = str(json.loads(line)["url"])
            with OpenAI(base_url=f"{url}/v1", api_key=key or "none", max_retries=0) as openai:
                yield RunningNode(url, process, log, openai, store, key)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(STOP_SECONDS)
                finally:
                    process.kill()
                    process.wait()


def descendants(process: int) -> set[int]:
    """The ids of all living processes below `process`."""
    found: set[int] = set()
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text(encoding="utf-8").split()):
                found |= {child} | descendants(child)
    return found


def name_of(process: int) -> str:
    """What a process calls itself; empty if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8").replace("\0", " ")
    return ""


def is_running(process: int) -> bool:
    """Whether a process lives; a zombie, which waits for a reaper, does not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def all_end(processes: set[int], seconds: float) -> None:
    eventually(
        lambda: not any(map(is_running, processes)), seconds, f"processes {processes} have ended"
    )
