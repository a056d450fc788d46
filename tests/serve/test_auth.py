"""Keys: who may speak, what stays open, and that no key shows anywhere."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import openai
import pytest

from orpheus_clone.bundle import Bundle
from orpheus_clone.errors import ArtifactError, RecipeError
from orpheus_clone.serve.auth import VARIABLE, Keys, check_host
from tests.commands import run
from tests.nodes import RunningNode, running

ONE, TWO = "first-secret-4711", "second-secret-4712"


@pytest.fixture(scope="module")
def keyed(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node with two keys, that takes only voices that are proved."""
    folder = tmp_path_factory.mktemp("keyed")
    with running(folder, environment={VARIABLE: f" {ONE}, {TWO} ,"}, key=ONE) as started:
        yield started
        log = started.log.read_text(encoding="utf-8")
        assert ONE not in log
        assert TWO not in log


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/audio/speech"),
        ("GET", "/v1/models"),
        ("GET", "/v1/audio/voices"),
        ("POST", "/v1/voices/jack@000000000000"),
        ("POST", "/v1/voices/jack/rollback"),
    ],
)
@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer wrong", f"Basic {ONE}", ONE, f"Bearer {ONE}x", f"Bearer {ONE},{TWO}"],
)
def test_without_an_accepted_key_everything_is_401(
    keyed: RunningNode, method: str, path: str, header: str
) -> None:
    headers = {"authorization": header} if header else {}
    body = {"model": "nano", "voice": "ada", "input": "Hi."}
    answer = httpx.request(method, keyed.url + path, headers=headers, json=body)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "a key is wanted" in answer.json()["error"]["message"]
    assert ONE not in answer.text


@pytest.mark.parametrize("key", [ONE, TWO])
def test_each_key_opens_the_node(keyed: RunningNode, key: str) -> None:
    assert keyed.get("/v1/models", **bearer(key)).status_code == 200
    assert keyed.get("/v1/models", authorization=f"bearer  {key}").status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_health_and_metrics_need_no_key(keyed: RunningNode, path: str) -> None:
    assert keyed.get(path).status_code == 200


def test_openais_client_shows_its_key_and_is_told_when_it_is_wrong(keyed: RunningNode) -> None:
    assert [model.id for model in keyed.openai.models.list()] == ["nano"]
    with (
        openai.OpenAI(base_url=f"{keyed.url}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError, match="a key is wanted"),
    ):
        stranger.models.list()


def test_an_unproven_voice_is_refused_by_a_node_that_was_not_told_to_take_it(
    keyed: RunningNode, voice_bundle: Callable[[str], Bundle]
) -> None:
    with pytest.raises(ArtifactError, match=r"409: jack@\w+ is unproven.*--allow-unproven"):
        keyed.client.publish(voice_bundle("jack"))
    assert {entry["kind"] for entry in keyed.client.voices()} == {"stock"}


def test_the_commands_take_the_key_from_the_environment(
    keyed: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = run("voices", "--server", keyed.url, "--json")
    assert (denied.code, "401" in denied.said) == (6, True)
    monkeypatch.setenv("ORPHEUS_CLONE_KEY", TWO)
    granted = run("voices", "--server", keyed.url, "--json")
    assert [entry["id"] for entry in granted.json["voices"]] == ["ada", "ben", "cleo", "dov"]
    assert TWO not in granted.err


def test_a_help_page_does_not_show_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORPHEUS_CLONE_KEY", TWO)
    assert TWO not in run("publish", "--help").out


def test_keys_do_not_show_in_a_repr() -> None:
    keys = Keys([ONE])
    assert ONE not in repr(keys)
    assert ONE not in repr(vars(keys))


def test_without_keys_everybody_is_accepted() -> None:
    assert not Keys([]).are_set
    assert Keys([]).accept(None)


def test_empty_keys_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, " , ,")
    assert not Keys.from_environment().are_set


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    check_host(host, Keys([]))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", ""])
def test_beyond_loopback_a_key_is_needed(host: str) -> None:
    check_host(host, Keys([ONE]))
    with pytest.raises(RecipeError, match="only listens on loopback; set ORPHEUS_CLONE_KEYS"):
        check_host(host, Keys([]))


def test_serve_refuses_an_open_address_without_keys() -> None:
    done = run("serve", "--base", "nano", "--host", "0.0.0.0", "--port", "0")
    assert (done.code, "loopback" in done.said) == (2, True)
