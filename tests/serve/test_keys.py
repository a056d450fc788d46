"""The keys file: what is written and read, and that no key shows where it should not."""

import json
from pathlib import Path

import pytest

from orpheus_clone.errors import RecipeError
from orpheus_clone.serve import keys
from orpheus_clone.serve.auth import Keys
from orpheus_clone.serve.keys import Scope
from tests.commands import run
from tests.serve.keyed import known


def test_a_key_that_the_command_made_is_found_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    limits = ("--sessions-per-minute", "60", "--sessions", "8")
    scopes = ("--scope", "speak", "--scope", "publish", "--scope", "speak")
    shown = run("key", "web", "--keys", str(file), *scopes, *limits, "--json").json
    assert (shown["name"], shown["scopes"]) == ("web", ["speak", "publish"])
    assert shown["key"].startswith(keys.PREFIX)
    assert shown["key"] not in file.read_text(encoding="utf-8")
    (key,) = keys.read(file)
    assert (key.sessions_per_minute, key.sessions) == (60, 8)
    assert Keys([key]).find(f"Bearer {shown['key']}") == key
    assert Keys([key]).find(f"Bearer {shown['key']}x") is None


def test_keys_are_added_one_a_line_and_each_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys"
    monkeypatch.setenv(keys.VARIABLE, str(file))
    made = [run("key", name, "--json").json["key"] for name in ("a", "b")]
    assert made[0] != made[1]
    found = keys.read(file)
    assert [(key.name, key.scopes) for key in found] == [
        ("a", (Scope.SPEAK,)),
        ("b", (Scope.SPEAK,)),
    ]
    again = run("key", "b")
    assert (again.code, "holds a key 'b'; choose another name" in again.said) == (2, True)
    assert keys.read(file) == found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("Web",), "key 'Web': name"),
        (("web", "--scope", "admin"), "--scope admin: expected speak, publish, operate"),
        (("web", "--sessions", "0"), "greater than or equal to 1"),
    ],
)
def test_a_key_that_cannot_be_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = run("key", *arguments, "--keys", str(tmp_path / "keys"))
    assert (done.code, said in done.said) == (2, True), done.said
    assert not (tmp_path / "keys").exists()


LINE = json.dumps(known("right", "one").model_dump(mode="json", exclude_none=True))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{LINE}\n\n{{}}\n", ":3: name: Field required"),
        ("my-secret-key\n", ":1: the line: Invalid JSON"),
        (LINE.replace("sha256", "sha512"), ":1: sha256: Field required"),
        (LINE[:-1] + ', "quota": 3}', ":1: quota: Extra inputs are not permitted"),
        (f"{LINE}\n{LINE}\n", "two keys are called 'one'"),
        ("\n", "it holds no key"),
    ],
)
def test_a_line_that_is_wrong_is_named_and_not_repeated(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "keys"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as refused:
        keys.read(file)
    assert f"{file}" in str(refused.value)
    assert said in str(refused.value)
    assert "my-secret-key" not in str(refused.value)


def test_a_key_where_the_files_name_should_be_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(keys.VARIABLE, "my-secret-key")
    done = run("serve", "--base", "nano", "--port", "0")
    assert (done.code, "--keys or ORPHEUS_CLONE_KEYS: no such file" in done.said) == (2, True)
    assert "my-secret-key" not in done.said + run("serve", "--help").out
