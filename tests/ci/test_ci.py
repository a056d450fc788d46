"""The jobs of recipes/ci: their form, that what they call exists, and the script for real."""

import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from orpheus_clone.cli import app
from orpheus_clone.store import open_store
from tests.conftest import UNJUDGED

CI = Path(__file__).parents[2] / "recipes" / "ci"
FILES = sorted(path for path in CI.iterdir() if path.is_file())
QUICK = [
    *UNJUDGED,
    "sampling.max_seconds=0.5",
    "eval.prompts=1",
    "eval.concurrency=1",
    "eval.sweep=[]",
    "eval.adapters=1",
    "eval.precision_prompts=0",
]
"""A job that says next to nothing, since all of it takes time."""


def calls(path: Path) -> list[list[str]]:
    """Every call of orpheus-clone in a file, comments included, continued lines joined."""
    text = re.sub(r"\\\n\s*#?", " ", path.read_text(encoding="utf-8"))
    found = re.findall(r"^[#\s]*(?:exec )?orpheus-clone (.*)$", text, re.MULTILINE)
    return [shlex.split(re.sub(r"\$\{\w+:\+(.*?)\}(?=\s|$)", r"\1", call)) for call in found]


def options_of(command: str) -> set[str]:
    group: Any = typer.main.get_command(app)
    return {option for parameter in group.commands[command].params for option in parameter.opts}


def test_every_call_in_them_is_one_that_exists() -> None:
    seen: set[str] = set()
    for path in FILES:
        for command, *words in calls(path):
            options = {word for word in words if word.startswith("--")}
            assert options <= options_of(command), (path.name, command, options)
            seen.add(command)
    assert seen == {"clone", "voices", "promote", "rollback"}


@pytest.fixture
def workflow() -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load((CI / "github-actions.yml").read_text(encoding="utf-8"))
    return loaded


def test_the_workflow_is_one(workflow: dict[Any, Any]) -> None:
    inputs = workflow[True]["workflow_dispatch"]["inputs"]  # YAML 1.1 reads `on` as true
    assert set(inputs) == {"voice", "recordings", "to", "consent", "canary", "recipe"}
    assert inputs["canary"]["default"] == "", "a first release has none to share with"
    (job,) = workflow["jobs"].values()
    assert job["runs-on"] == ["self-hosted", "gpu"]
    assert workflow["permissions"] == {"contents": "read"}
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])


def test_nothing_that_somebody_typed_becomes_a_part_of_a_script(workflow: dict[Any, Any]) -> None:
    (job,) = workflow["jobs"].values()
    assert not [step for step in job["steps"] if "${{" in step.get("run", "")]


def test_the_workflow_hands_the_container_what_the_script_reads(workflow: dict[Any, Any]) -> None:
    (job,) = workflow["jobs"].values()
    script = (CI / "run.sh").read_text(encoding="utf-8")
    read = set(re.findall(r"\$\{?([A-Z]+)\b", script))
    given = set(re.findall(r"-e (\w+)", str(job["steps"])))
    secret = {name for name, value in job["env"].items() if "secrets." in value}
    assert secret <= given
    image = dict(re.findall(r"(\w+)=(/\S+)", (CI / "Dockerfile").read_text(encoding="utf-8")))
    assert given <= set(job["env"])
    assert read - given - {"BASE", "BASH"} == {"RECORDINGS", "OUT"} <= set(image)


@pytest.mark.parametrize("consent", ["", "/srv/it's hers.json"])
def test_the_workflow_mounts_what_the_job_needs(
    workflow: dict[Any, Any], tmp_path: Path, consent: str
) -> None:
    """A mount whose source is not there ends the job at once; `-v` would make an empty folder."""
    (job,) = workflow["jobs"].values()
    (step,) = (step for step in job["steps"] if "docker run" in step.get("run", ""))
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    docker.chmod(0o755)
    where = {"CONSENT": consent, "RECORDINGS": "/srv/a b", "JOBS": "/j", "VOICE": "jack"}
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", **where},
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.splitlines()
    mounts = {words[at + 1] for at, word in enumerate(words) if word == "--mount"}
    hers = {f"type=bind,src={consent},dst=/consent,readonly"} if consent else set()
    assert mounts == {"type=bind,src=/srv/a b,dst=/recordings,readonly"} | hers
    assert ("CONSENT=/consent" in words) is bool(consent)


def test_the_image_starts_the_script_and_installs_extras_that_exist() -> None:
    text = (CI / "Dockerfile").read_text(encoding="utf-8")
    assert 'ENTRYPOINT ["/app/recipes/ci/run.sh"]' in text
    assert (CI / "run.sh").stat().st_mode & stat.S_IXUSR
    declared = (CI.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    (extras,) = re.findall(r'"\.\[(.*?)\]"', text)
    for extra in extras.split(","):
        assert re.search(rf"^{extra} = \[", declared, re.MULTILINE), extra


def job(folder: Path, recordings: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """The script in this checkout's environment; its exit code and all it said."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    where = {"VOICE": "jack", "RECORDINGS": str(recordings), "TO": str(folder / "store")}
    how = {"OUT": str(folder / "out"), "BASE": "nano", "RECIPE": str(CI.parent / "smoke.yaml")}
    quick = [part for setting in QUICK for part in ("--set", setting)]
    done = subprocess.run(
        [CI / "run.sh", "--engine", "hf", *quick, *arguments],
        env={**os.environ, "PATH": path, **where, **how, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_script_publishes_on_green_gates_and_on_no_others(
    recordings: Path, own_cache: Path, tmp_path: Path
) -> None:
    """A clone from end to end, which takes its time; the second job goes on from the first."""
    red = job(tmp_path, recordings, "--set", "eval.gates.stream_rate_min=1e9")
    assert red[0] == 1, red[1]
    assert "not published: stream rate" in red[1]
    assert not (tmp_path / "store").exists()
    green = job(tmp_path, recordings, CANARY="0%", BY="night job")
    assert green[0] == 0, green[1]
    seen = open_store(tmp_path / "store").see("jack")
    assert (seen.pointer.current, seen.moves[0].by) == (None, "night job")
    assert seen.pointer.canary is not None
    assert (tmp_path / "out" / "run" / "eval" / "junit.xml").is_file()


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ({"TO": "node:8000"}, 2, "write http://NODE"),
        ({"TO": "http://127.0.0.1:1"}, 6, "does not answer"),
        ({"CANARY": "10%"}, 2, "has no bundle that the other sessions could speak with"),
        ({"CONSENT": "/nowhere.json"}, 3, "the consent cannot be read"),
    ],
)
def test_what_cannot_be_published_is_said_before_anything_is_made(
    recordings: Path, own_cache: Path, tmp_path: Path, wrong: dict[str, str], code: int, said: str
) -> None:
    done = job(tmp_path, recordings, **wrong)
    assert (done[0], said in done[1]) == (code, True), done[1]
    assert not (tmp_path / "out").exists()


def test_secrets_that_a_workflow_does_not_have_are_as_if_they_were_not_given(
    recordings: Path, own_cache: Path, tmp_path: Path
) -> None:
    names = ("AWS_ENDPOINT", "AWS_REGION", "AZURE_STORAGE_ACCOUNT_KEY", "GOOGLE_SERVICE_ACCOUNT")
    empty = dict.fromkeys(names, "")
    given = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "k"}
    secret = {"AWS_SECRET_ACCESS_KEY": "s"}
    done = job(tmp_path, recordings, TO="s3://voices/x", **empty, **given, **secret)
    assert (done[0], "http://127.0.0.1:1/voices" in done[1]) == (6, True), done[1]


@pytest.mark.parametrize("missing", ["VOICE", "RECORDINGS", "TO", "OUT"])
def test_what_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    code, said = job(tmp_path, tmp_path, **{missing: ""})
    assert code != 0
    assert f"{missing}: " in said
