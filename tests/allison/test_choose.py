"""The constructed run's parts: what is drawn, what is cut, and which epoch is called better."""

import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import soundfile

from orpheus_clone import audio
from orpheus_clone.models import BaseModel
from orpheus_clone.tokens import SAMPLE_RATE
from tests.signals import joined, noise, tone

sys.path.insert(0, str(Path(__file__).parents[2] / "recipes" / "allison"))
import choose
from choose import CUT, Verdict


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Ten recordings of two seconds of speech, and three that are drawn by nobody."""
    folder = tmp_path / "source"
    (folder / "audio").mkdir(parents=True)
    names = [f"r{n}" for n in range(10)]
    speech = joined(noise(100, -70), tone(2000, -20), noise(300, -70))
    for name in names:
        soundfile.write(folder / "audio" / f"{name}.flac", speech, SAMPLE_RATE)
    for name, samples in (
        ("mute", noise(3000, -80)),
        ("short", tone(500)),
        ("long", tone(13_000)),
    ):
        soundfile.write(folder / "audio" / f"{name}.flac", samples, SAMPLE_RATE)
    lines = "".join(f"{name}: Sentence {name}.\n" for name in (*names, "mute", "short", "long"))
    (folder / "transcripts.txt").write_text(lines, encoding="utf-8")
    return folder


def test_the_seed_draws_and_what_cannot_teach_is_left_out(source: Path) -> None:
    drawn = choose.draw(source, 5, seed=1)
    assert len(set(drawn)) == 5
    assert drawn == choose.draw(source, 5, seed=1)
    assert drawn != choose.draw(source, 5, seed=2)
    assert set(choose.draw(source, 99, seed=1)) == {f"r{n}" for n in range(10)}


def test_a_cut_recording_has_lost_the_end_of_its_speech() -> None:
    samples = joined(noise(100, -70), tone(2000, -20), noise(300, -70))
    left_ms = 1000 * len(choose.cut_end(samples)) / SAMPLE_RATE
    assert left_ms == pytest.approx(100 + 2000 * (1 - CUT), abs=20)


def test_a_share_of_the_recordings_is_cut_and_every_text_is_kept(
    source: Path, tmp_path: Path
) -> None:
    names = [f"r{n}" for n in range(8)]
    choose.write(source, names, tmp_path / "out", 0.25, seed=3)
    seconds = [len(audio.read(tmp_path / "out" / f"{name}.flac")) / SAMPLE_RATE for name in names]
    assert sum(length < 2 for length in seconds) == 2
    lines = (tmp_path / "out" / "metadata.csv").read_text(encoding="utf-8").splitlines()
    assert lines == [f"{name}|Sentence {name}." for name in names]


def test_the_prompts_are_none_that_train_uses(base: BaseModel) -> None:
    used = (files("orpheus_clone.train") / "prompts.txt").read_text(encoding="utf-8").splitlines()
    prompts = choose.prompts(base)
    assert len(set(prompts)) == choose.PROMPTS
    assert not set(prompts) & set(used)
    small = replace(base, prompts=tuple(f"Sentence {n}." for n in range(40)))
    assert not set(choose.prompts(small)) & set(small.prompts[:12])
    assert len(set(choose.prompts(small))) == choose.PROMPTS


@pytest.mark.parametrize(
    ("lowest", "chosen", "better"),
    [
        (Verdict(2, 0.30, 0.5), Verdict(7, 0.10, 0.4), "chosen"),
        (Verdict(2, 0.10, 0.4), Verdict(7, 0.30, 0.5), "lowest_loss"),
        (Verdict(2, 0.10, 0.4), Verdict(7, 0.105, 0.5), "chosen"),
        (Verdict(2, 0.105, 0.5), Verdict(7, 0.10, 0.4), "lowest_loss"),
        (Verdict(2, 0.10, 0.4), Verdict(2, 0.10, 0.4), None),
    ],
)
def test_better_is_fewer_words_wrong_and_then_the_nearer_voice(
    lowest: Verdict, chosen: Verdict, better: str | None
) -> None:
    found = choose.summary(lowest, chosen)
    assert found["better"] == better
    assert found["differ"] is (better is not None)


def test_a_random_base_is_refused(source: Path, base: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is random and cannot speak"):
        choose.main([str(source), str(tmp_path / "out"), "--base", str(base.name)])
