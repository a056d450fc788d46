"""The speaker's clips as a run carries them: written by train, read where the corpus is not."""

import json
import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest

from orpheus_clone import audio, manifest, silence, text
from orpheus_clone.errors import ArtifactError
from orpheus_clone.layout import PreparedDir, RunDir
from orpheus_clone.listening import reference
from orpheus_clone.listening.reference import _spread
from orpheus_clone.tokens import SAMPLE_RATE


@pytest.fixture
def run(prepared: PreparedDir, tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    reference.write(prepared, run)
    return run


def test_a_run_carries_its_held_out_clips_and_none_that_was_learnt(
    run: RunDir, prepared: PreparedDir
) -> None:
    clips = {clip.id: clip for clip in manifest.read_clips(prepared.clips)}
    held = {name for name, clip in clips.items() if clip.split == "heldout"}
    found = reference.read(run)
    assert {clip.id for clip in found.clips} == held
    for clip in found.clips:
        assert clip.text == clips[clip.id].text
        own = audio.read(prepared.audio / f"{clips[clip.id].key}.flac")
        assert np.array_equal(clip.samples, own)


def test_pace_and_pitch_are_medians_over_the_corpus(run: RunDir, prepared: PreparedDir) -> None:
    clips = manifest.read_clips(prepared.clips)
    paces = []
    for clip in clips:
        span = silence.speech_span(audio.read(prepared.audio / f"{clip.key}.flac"), SAMPLE_RATE)
        paces.append((span.offset_ms - span.onset_ms) / 1000 / text.letters(clip.text))
    found = reference.read(run)
    assert found.seconds_per_letter == pytest.approx(statistics.median(paces))
    assert found.pitch_hz == statistics.median(c.measured.pitch_hz or 0 for c in clips)
    assert found.language == "en"


def test_writing_again_replaces_all_of_it(run: RunDir, prepared: PreparedDir) -> None:
    (run.reference / "999.flac").write_bytes(b"of another corpus")
    reference.write(prepared, run)
    assert not (run.reference / "999.flac").exists()


def test_a_large_corpus_is_drawn_from_evenly(prepared: PreparedDir) -> None:
    clips = manifest.read_clips(prepared.clips)
    assert _spread(clips, 6) == clips
    assert _spread(clips, 3) == [clips[0], clips[2], clips[4]]


def test_a_run_without_a_reference_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"reference.json is missing; run train again"):
        reference.read(RunDir(tmp_path))


def test_a_corpus_without_its_audio_names_the_command(
    prepared: PreparedDir, tmp_path: Path
) -> None:
    data = PreparedDir(Path(shutil.copytree(prepared.root, tmp_path / "data")))
    shutil.rmtree(data.audio)
    with pytest.raises(ArtifactError, match=r"audio is missing; run prepare again"):
        reference.write(data, RunDir(tmp_path / "run"))


@pytest.mark.parametrize("damage", ["clips", "seconds_per_letter", "file"])
def test_a_damaged_reference_says_what_is_wrong(run: RunDir, damage: str) -> None:
    path = run.reference / "reference.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    if damage == "file":
        (run.reference / data["clips"][0]["file"]).unlink()
    else:
        del data[damage]
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"reference/.* (run train again)"):
        reference.read(run)
