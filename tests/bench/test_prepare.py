"""bench prepare: the same speech to both, and every second counted once."""

import json
from pathlib import Path

import numpy as np
import pytest

from orpheus_clone import audio
from orpheus_clone.bench import Options, prepare
from orpheus_clone.bench import run as run_bench
from orpheus_clone.bench.prepare import Stopwatch, speech
from orpheus_clone.errors import MachineError, RecipeError
from orpheus_clone.tokens import SAMPLE_RATE
from tests.conftest import DATA_SAMPLES
from tests.judges import whisper_dir


class Clock:
    """Time that is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_time_belongs_to_the_stage_that_is_reported_after_it() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    reports = [(3, "decode"), (4, "decode"), (6, "listen"), (10, "listen"), (11, "write")]
    for clock.now, stage in reports:
        watch(stage, 0, 1)
    assert dict(watch.seconds) == {"open": 3, "decode": 1, "listen": 6, "write": 1}


def test_what_is_skipped_counts_for_nobody() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    watch("open")
    clock.now = 5
    watch.skip()
    clock.now = 7
    watch("read")
    assert dict(watch.seconds) == {"open": 0, "read": 2}


def test_speech_is_repeated_until_it_is_enough_and_never_twice_the_same(tmp_path: Path) -> None:
    made = speech(DATA_SAMPLES, tmp_path / "a", minutes=2.2)
    clips = [audio.read(path) for path in made]
    samples = [len(clip) for clip in clips]
    assert sum(samples) >= 2.2 * 60 * SAMPLE_RATE > sum(samples[:-1])
    assert len(made) > 18  # so that the first is there again
    assert len({clip.tobytes() for clip in clips}) == len(made)
    first = audio.read(sorted(DATA_SAMPLES.glob("*.flac"))[0])
    assert 0.9 < len(clips[0]) / len(first) < 1.1
    again = speech(DATA_SAMPLES, tmp_path / "b", minutes=0.1)
    assert np.array_equal(audio.read(again[0]), clips[0])


def test_without_speech_it_says_which_option_names_some(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="--recordings FOLDER"):
        speech(tmp_path / "nowhere", tmp_path, minutes=1)


def test_both_hear_the_same_speech_and_the_line_tells_the_ratio(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "MINUTES", 0.6)
    result = run_bench("prepare", Options(whisper=str(whisper_dir())))
    line = result.line
    assert (line["bench"], line["asr"]) == ("prepare", "whisper-base")
    assert line["minutes"] >= 0.25
    ratio = line["ours_minutes_per_minute"] / line["straight_minutes_per_minute"]
    assert line["speedup"] == pytest.approx(ratio, rel=0.05)
    stages = {row["stage"]: row for row in result.rows}
    assert list(stages) == [*prepare.STAGES, "all"]
    for column in ("ours_s", "straight_s"):
        parts = [row[column] for name, row in stages.items() if name != "all" and row[column] != ""]
        assert sum(parts) == pytest.approx(stages["all"][column], abs=0.1)
    assert stages["measures"]["straight_s"] == ""
    json.dumps(line)


def test_its_options_are_of_no_other_bench() -> None:
    with pytest.raises(RecipeError, match="only of the bench prepare"):
        run_bench("decode", Options(whisper="base"))
