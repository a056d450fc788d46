"""A node with the vLLM engine whose processes are killed: it says so, and nothing is left."""

import os
import signal
from pathlib import Path

import pytest

from tests.nodes import RunningNode, all_end, descendants, is_running, name_of, running
from tests.waiting import eventually

pytestmark = pytest.mark.vllm


def engine_processes(node: RunningNode) -> set[int]:
    return {process for process in descendants(node.process.pid) if "VLLM" in name_of(process)}


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


@pytest.mark.timeout(240)
def test_when_the_engine_is_killed_the_node_is_not_ready_and_reaps_what_is_left(
    own_cache: Path, tmp_path: Path
) -> None:
    with running(tmp_path, engine="vllm") as node:
        processes = engine_processes(node)
        cores = [process for process in processes if "EngineCore" in name_of(process)]
        assert len(cores) == 1
        assert node.get("/readyz").status_code == 200
        assert node.speak("Hello.", "ada", response_format="ogg").status_code == 400
        kill(cores[0])
        eventually(lambda: node.get("/readyz").status_code == 503, 10, "the node is not ready")
        assert "restart this node" in node.get("/livez").json()["error"]["message"]
        answer = node.speak("Hello.", "ada")
        assert answer.status_code == 503
        assert answer.json()["error"]["type"] == "EngineDead"
        assert "restart this node" in answer.json()["error"]["message"]
        assert answer.headers["retry-after"]
        all_end(processes, 10)
        assert node.stop() == 0
        assert not any(map(is_running, processes))


@pytest.mark.timeout(240)
def test_when_the_node_is_killed_its_engine_ends_too(own_cache: Path, tmp_path: Path) -> None:
    with running(tmp_path, engine="vllm") as node:
        processes = descendants(node.process.pid)
        assert engine_processes(node)
        kill(node.process.pid)
        node.process.wait(10)
        all_end(processes, 10)
