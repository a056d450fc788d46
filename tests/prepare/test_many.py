"""Many speakers through real Ray, each as `prepare` alone would make it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orpheus_clone import recipe
from orpheus_clone.cli.app import app
from orpheus_clone.errors import DataError, RecipeError
from orpheus_clone.layout import PreparedDir
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare.many import read_manifest
from tests.conftest import UNJUDGED

RECIPE = recipe.load(None, UNJUDGED)


def lines(path: Path, *entries: object) -> Path:
    path.write_text(
        "".join(e if isinstance(e, str) else json.dumps(e) + "\n" for e in entries),
        encoding="utf-8",
    )
    return path


def test_a_line_is_an_order_with_paths_beside_the_manifest(tmp_path: Path, base: BaseModel) -> None:
    manifest = lines(
        tmp_path / "speakers.jsonl",
        {"voice": "jack", "audio": ["a.wav", "more/"], "consent": "c.txt", "language": "auto"},
        {"voice": "jill", "audio": "jill"},
    )
    jack, jill = read_manifest(manifest, RECIPE, base)
    assert list(jack.places) == [str(tmp_path / "a.wav"), str(tmp_path / "more")]
    assert (jack.consent, jack.language) == (tmp_path / "c.txt", None)
    assert (jill.voice, jill.language, jill.consent, jill.recipe) == ("jill", "en", None, RECIPE)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{\n", r"speakers\.jsonl:2: is not JSON"),
        ("[]\n", r"speakers\.jsonl:2: expected voice, audio"),
        ('{"voice": "x"}\n', r":2: expected voice, audio"),
        ('{"voice": "x", "audio": "a", "sex": "f"}\n', r":2: expected voice, audio"),
        ('{"voice": 1, "audio": "a"}\n', r":2: voice and audio are texts"),
        ('{"voice": "x", "audio": 5}\n', r":2: voice and audio are texts"),
        ('{"voice": "x", "audio": "a", "consent": null}\n', r":2: consent are texts"),
        ('{"voice": "x", "audio": "a", "columns": {"text": "b"}}\n', r":2: columns is a text"),
        ('{"voice": "jack", "audio": "b"}\n', "the voice 'jack' stands on two lines"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, base: BaseModel, line: str, message: str) -> None:
    manifest = lines(tmp_path / "speakers.jsonl", {"voice": "jack", "audio": "a"}, line)
    with pytest.raises(DataError, match=message):
        read_manifest(manifest, RECIPE, base)


def test_a_manifest_of_nothing_is_refused(tmp_path: Path, base: BaseModel) -> None:
    with pytest.raises(DataError, match="holds no speakers"):
        read_manifest(lines(tmp_path / "speakers.jsonl", "\n"), RECIPE, base)
    with pytest.raises(DataError, match="cannot be read"):
        read_manifest(tmp_path / "none.jsonl", RECIPE, base)


def test_each_speaker_becomes_a_corpus_and_one_that_fails_stops_no_other(
    tmp_path: Path, recordings: Path, prepared: PreparedDir
) -> None:
    (tmp_path / "empty").mkdir()
    manifest = lines(
        tmp_path / "speakers.jsonl",
        {"voice": "jack", "audio": str(recordings)},
        {"voice": "jill", "audio": "empty"},
    )
    settings = [part for setting in UNJUDGED for part in ("--set", setting)]
    options = ["--manifest", manifest, "--out", tmp_path / "data", "--base", "nano", "--json"]
    # In a process of its own, since Ray leaves threads and sockets to its end.
    done = subprocess.run(
        [sys.executable, "-m", "orpheus_clone", "prepare", *map(str, options), *settings],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == DataError.exit_code, done.stderr
    jack, jill = json.loads(done.stdout)["speakers"]
    assert (jack["voice"], jack["clips"], jack["error"]) == ("jack", 6, "")
    assert (jill["voice"], jill["clips"]) == ("jill", 0)
    assert "the folder holds no audio files" in jill["error"]
    made, alone = PreparedDir(tmp_path / "data" / "jack").stamp(), prepared.stamp()
    assert made.data_digest == alone.data_digest


def test_what_the_lines_of_a_manifest_say_is_no_option_beside_it(tmp_path: Path) -> None:
    options = ["prepare", "--manifest", "speakers.jsonl", "--out", str(tmp_path / "data")]
    for more in (["--language", "de"], ["--voice", "jack"], ["recordings"]):
        result = CliRunner().invoke(app, [*options, "--base", "nano", *more])
        assert isinstance(result.exception, RecipeError)
