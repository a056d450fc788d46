"""How a node begins and ends: ports, registries, signals, and no process left behind."""

import os
import signal
import socket
from pathlib import Path

import httpx
import pytest

from orpheus_clone.layout import RunDir
from orpheus_clone.store import open_store
from tests.bundles import SHORT, frames_of, made
from tests.commands import run
from tests.nodes import all_end, descendants, running
from tests.serve.keyed import keys_file, known
from tests.waiting import eventually


def serve(*arguments: str, folder: Path) -> tuple[int, str]:
    """Exit code and talk of a `serve` that does not get to speak."""
    done = run("serve", "--base", "nano", "--store", str(folder / "store"), *arguments)
    return done.code, done.said


def test_a_port_in_use_is_said_at_once_and_not_after_the_engine_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "nonsense")  # no engine starts with that
    before = descendants_of_this()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = serve("--port", str(port), "--engine", "auto", folder=tmp_path)
    assert code == 7
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another" in said
    assert descendants_of_this() == before


def descendants_of_this() -> set[int]:
    return descendants(os.getpid())


def test_a_host_that_is_not_here_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORPHEUS_CLONE_KEYS", str(keys_file(tmp_path / "keys", known("some-key"))))
    code, said = serve("--host", "192.0.2.1", "--port", "0", folder=tmp_path)
    assert (code, "cannot listen on 192.0.2.1:0" in said) == (7, True)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "999.1.1.1"])
def test_a_host_that_is_no_address_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("ORPHEUS_CLONE_KEYS", str(keys_file(tmp_path / "keys", known("some-key"))))
    code, said = serve("--host", host, "--port", "0", folder=tmp_path)
    assert (code, f"cannot listen on {host}:0" in said) == (7, True)


def test_a_registry_that_does_not_answer_is_said_without_its_password(tmp_path: Path) -> None:
    url = "redis://:hunter2@127.0.0.1:1/0"
    code, said = serve("--port", "0", "--engine", "hf", "--redis-url", url, folder=tmp_path)
    assert (code, "--redis-url: cannot be reached" in said) == (6, True)
    assert "hunter2" not in said


def test_what_is_no_registry_url_is_wrong_usage(tmp_path: Path) -> None:
    url = "http://:hunter2@127.0.0.1:1/0"
    code, said = serve("--port", "0", "--engine", "hf", "--redis-url", url, folder=tmp_path)
    assert (code, "expected redis://" in said, "hunter2" in said) == (2, True, False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_sentence_of_a_stored_voice_be_spoken_and_ends_with_0(
    tmp_path: Path, run_dir: RunDir, number: signal.Signals
) -> None:
    store = open_store(tmp_path / "store")
    seconds = SHORT.model_copy(update={"max_seconds": 2.0})
    stored = store.add(made(run_dir, tmp_path / "made", sampling=seconds))
    seen = store.see("jack")
    store.move(seen, "publish", seen.pointer.published(stored.name))
    body = {"model": "nano", "voice": "jack", "input": "Hello.", "response_format": "pcm"}
    with running(tmp_path, "--allow-unproven", store=tmp_path / "store") as node:
        processes = {node.process.pid} | descendants(node.process.pid)
        with httpx.stream("POST", f"{node.url}/v1/audio/speech", json=body, timeout=60) as answer:
            blocks = answer.iter_raw()
            sound = next(blocks)
            node.process.send_signal(number)
            eventually(lambda: node.get("/readyz").status_code == 503, 5, "it is not ready")
            refused = node.speak("Hello.", "jack")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert "about to stop" in refused.json()["error"]["message"]
            assert node.get("/livez").status_code == 200
            sound += b"".join(blocks)
        assert frames_of(sound) == 23
        assert node.process.wait(30) == 0
        all_end(processes, 2)
        assert "Traceback" not in node.log.read_text(encoding="utf-8")
