"""Keys: who may speak, what stays open, and that no key shows anywhere."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import openai
import pytest

from orpheus_clone.bundle import Bundle
from orpheus_clone.errors import ArtifactError, Busy, RecipeError
from orpheus_clone.serve.auth import (
    MINUTE,
    SECRET_HEADER,
    SECRET_VARIABLE,
    Keys,
    NodeSecret,
    check_host,
    check_secret,
    wanted_scopes,
)
from orpheus_clone.serve.keys import VARIABLE, Key, Scope
from tests.commands import run
from tests.nodes import RunningNode, running
from tests.serve.keyed import keys_file, known

ONE, TWO, TALKER = "first-secret-4711", "second-secret-4712", "third-secret-4713"
SECRET = "node-secret-0123456789"


@pytest.fixture(scope="module")
def keyed(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node with three keys, that takes only voices that are proved."""
    folder = tmp_path_factory.mktemp("keyed")
    talker = known(TALKER, "talker", (Scope.SPEAK,), sessions_per_minute=2)
    keys = keys_file(folder / "keys", known(ONE, "one"), known(TWO, "two"), talker)
    environment = {VARIABLE: str(keys), SECRET_VARIABLE: SECRET}
    with running(folder, environment=environment, key=ONE) as started:
        yield started
        log = started.log.read_text(encoding="utf-8")
        assert not [secret for secret in (ONE, TWO, TALKER, SECRET) if secret in log]


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


def test_of_every_route_that_is_described_it_is_known_what_it_wants(keyed: RunningNode) -> None:
    described = keyed.get("/openapi.json").json()["paths"]
    for path in (path for path in described if path.startswith("/v1/")):
        scopes = wanted_scopes(path.format(voice="jack", name="jack@0", did="promote"))
        assert Scope.OPERATE not in scopes or path == "/v1/nodes", path


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz", "/metrics"])
def test_health_and_metrics_need_no_key(keyed: RunningNode, path: str) -> None:
    assert keyed.get(path).status_code == 200


def test_openais_client_shows_its_key_and_is_told_when_it_is_wrong(keyed: RunningNode) -> None:
    assert [model.id for model in keyed.openai.models.list()] == ["nano"]
    with (
        openai.OpenAI(base_url=f"{keyed.url}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError, match="this key is not one of"),
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


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/voices/jack@000000000000"),
        ("POST", "/v1/voices/jack/rollback"),
        ("DELETE", "/v1/voices/jack"),
        ("GET", "/v1/voices/jack/history"),
        ("GET", "/v1/nodes"),
        ("GET", "/v1/what/is/new"),
    ],
)
def test_a_key_is_good_for_its_scopes_alone(keyed: RunningNode, method: str, path: str) -> None:
    answer = httpx.request(method, keyed.url + path, headers=bearer(TALKER))
    assert answer.status_code == 403
    assert "the key 'talker' is for speak, and not for" in answer.json()["error"]["message"]
    assert httpx.request(method, keyed.url + path, headers=bearer(ONE)).status_code != 403


def test_sessions_beyond_a_keys_rate_are_429_and_told_when_to_come_back(keyed: RunningNode) -> None:
    body = {"model": "nano", "voice": "nobody", "input": "Hi."}

    def ask() -> httpx.Response:
        headers = bearer(TALKER)
        return httpx.post(f"{keyed.url}/v1/audio/speech", json=body, headers=headers)

    assert [ask().status_code for _ in range(2)] == [404, 404]
    third = ask()
    assert third.status_code == 429
    assert third.json()["error"]["message"] == "the key 'talker' has begun its 2 sessions a minute"
    assert 1 <= int(third.headers["retry-after"]) <= 30
    assert keyed.get("/v1/models", **bearer(TALKER)).status_code == 200, "a list is no session"
    assert 'orpheus_clone_rejected_total{reason="429"} 1.0' in keyed.get("/metrics").text


def test_a_request_that_bears_the_node_secret_was_let_in_elsewhere(keyed: RunningNode) -> None:
    assert keyed.get("/v1/models", **{SECRET_HEADER: SECRET}).status_code == 200
    wrong = keyed.get("/v1/models", **{SECRET_HEADER: SECRET + "x", **bearer(ONE)})
    assert wrong.status_code == 401
    assert "all nodes of a fleet have one" in wrong.json()["error"]["message"]
    client = keyed.get("/v1/nodes/session", **bearer(ONE))
    assert (client.status_code, "for the nodes" in client.text) == (401, True)


@pytest.mark.parametrize(
    ("path", "scopes"),
    [
        ("/v1/audio/speech", {Scope.SPEAK}),
        ("/v1/text-to-speech/jack/multi-stream-input", {Scope.SPEAK}),
        ("/v1/voices", {Scope.SPEAK, Scope.PUBLISH}),
        ("/v1/audio/voices", {Scope.SPEAK, Scope.PUBLISH}),
        ("/v1/voices/jack/history", {Scope.PUBLISH}),
        ("/v1/voices/jack", {Scope.PUBLISH}),
        ("/v1/nodes", {Scope.OPERATE}),
        ("/v1/voicesx", {Scope.OPERATE}),
        ("/v1/nodes/session", {Scope.SPEAK}),
    ],
)
def test_what_a_request_wants(path: str, scopes: set[Scope]) -> None:
    assert set(wanted_scopes(path)) == scopes


def limited(
    *, sessions: int | None = None, sessions_per_minute: int | None = None
) -> tuple[Keys, Key, list[float]]:
    """Keys with one key, and the clock that they look at."""
    key = known(ONE, sessions=sessions, sessions_per_minute=sessions_per_minute)
    now = [0.0]
    return Keys([key], lambda: now[0]), key, now


def test_so_many_sessions_of_a_key_may_be_open_and_one_that_ends_makes_room() -> None:
    keys, key, _ = limited(sessions=2)
    with keys.session(key):
        with keys.session(key), pytest.raises(Busy, match="its 2 sessions open"), keys.session(key):
            pass
        with keys.session(key):
            pass


def test_a_session_that_fails_is_over_too() -> None:
    keys, key, _ = limited(sessions=1)
    for _ in range(2):
        with pytest.raises(OSError, match="gone"), keys.session(key):
            raise OSError("gone")


def test_the_rate_of_a_key_fills_up_with_time() -> None:
    keys, key, now = limited(sessions_per_minute=2)
    for _ in range(2):
        with keys.session(key):
            pass
    with pytest.raises(Busy) as refused, keys.session(key):
        pass
    assert refused.value.retry_after_s == MINUTE / 2
    now[0] = 20.0
    with pytest.raises(Busy) as refused, keys.session(key):
        pass
    assert refused.value.retry_after_s == 10
    now[0] = 30.0
    with keys.session(key):
        pass


def test_a_session_that_may_not_be_open_costs_nothing_of_the_rate() -> None:
    keys, key, _ = limited(sessions=1, sessions_per_minute=2)
    with keys.session(key), pytest.raises(Busy, match="open"), keys.session(key):
        pass
    with keys.session(key):
        pass


def test_keys_and_secrets_do_not_show_in_a_repr() -> None:
    for holder in (Keys([known(ONE)]), NodeSecret(ONE)):
        assert ONE not in repr(holder) + repr(vars(holder))


def test_a_node_knows_the_others_by_its_own_secret_alone() -> None:
    mine, other = NodeSecret(SECRET), NodeSecret(SECRET + "x")
    assert mine.accepts(mine.headers())
    for headers in ({}, other.headers(), {SECRET_HEADER: ""}):
        assert not mine.accepts(headers)


def test_without_a_secret_nobody_is_told_from_a_node() -> None:
    assert NodeSecret(None).headers() == {}
    assert NodeSecret(None).accepts({})
    assert not NodeSecret("").is_set


def test_a_secret_that_could_be_guessed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "x" * 16)
    assert NodeSecret.from_environment().is_set
    monkeypatch.setenv(SECRET_VARIABLE, "hunter2-hunter2")
    with pytest.raises(RecipeError, match="fewer than 16 characters") as refused:
        NodeSecret.from_environment()
    assert "hunter2" not in str(refused.value)


def test_a_fleet_beyond_this_machine_or_with_keys_needs_a_secret() -> None:
    none, keys = Keys([]), Keys([known("right")])
    check_secret("127.0.0.1", "redis://localhost", NodeSecret(None), none)
    check_secret("0.0.0.0", None, NodeSecret(None), keys)
    check_secret("0.0.0.0", "redis://redis", NodeSecret(SECRET), keys)
    for host, its in (("0.0.0.0", none), ("127.0.0.1", keys)):
        with pytest.raises(RecipeError, match=f"set the same {SECRET_VARIABLE} on all of them"):
            check_secret(host, "redis://redis", NodeSecret(None), its)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    check_host(host, Keys([]))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", ""])
def test_beyond_loopback_a_key_is_needed(host: str) -> None:
    check_host(host, Keys([known(ONE)]))
    with pytest.raises(RecipeError, match="only listens on loopback; give it --keys FILE"):
        check_host(host, Keys([]))


def test_serve_refuses_an_open_address_without_keys() -> None:
    done = run("serve", "--base", "nano", "--host", "0.0.0.0", "--port", "0")
    assert (done.code, "loopback" in done.said) == (2, True)
