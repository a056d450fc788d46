"""A node with the vLLM engine whose processes are killed: it says so, ends, and leaves nothing."""

import json
import os
import signal
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.nodes import RunningNode, all_end, descendants, name_of, running
from tests.waiting import eventually

pytestmark = pytest.mark.vllm


def engine_processes(node: RunningNode) -> set[int]:
    return {process for process in descendants(node.process.pid) if "VLLM" in name_of(process)}


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


@pytest.mark.timeout(240)
def test_when_the_engine_is_killed_who_is_heard_is_told_and_the_node_ends_for_a_supervisor(
    own_cache: Path, tmp_path: Path
) -> None:
    with running(tmp_path, engine="vllm") as node:
        processes = engine_processes(node)
        cores = [process for process in processes if "EngineCore" in name_of(process)]
        assert len(cores) == 1
        assert node.get("/readyz").status_code == 200
        with connect(f"ws{node.url[4:]}/v1/text-to-speech/ada/multi-stream-input") as client:
            client.send(json.dumps({"text": "Hello. " * 50, "context_id": "a", "flush": True}))
            assert json.loads(client.recv(30))["audio"]
            kill(cores[0])
            heard = json.loads(client.recv(30))
            while "error" not in heard:
                heard = json.loads(client.recv(30))
            assert (heard["contextId"], heard["code"]) == ("a", 1011)
            assert "restart this node" in heard["error"]
            # The socket is open, and so the node is there yet.
            eventually(lambda: node.get("/readyz").status_code == 503, 10, "it is not ready")
            assert "restart this node" in node.get("/livez").json()["error"]["message"]
            answer = node.speak("Hello.", "ada")
            assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
            # Busy, if it is about to stop by now.
            assert answer.json()["error"]["type"] in ("EngineDead", "NodeError", "Busy")
        assert node.process.wait(20) == 6
        assert "the node with it; start it again" in node.log.read_text(encoding="utf-8")
        all_end(processes, 10)


@pytest.mark.timeout(240)
def test_when_the_node_is_killed_its_engine_ends_too(own_cache: Path, tmp_path: Path) -> None:
    with running(tmp_path, engine="vllm") as node:
        processes = descendants(node.process.pid)
        assert engine_processes(node)
        kill(node.process.pid)
        node.process.wait(10)
        all_end(processes, 10)
