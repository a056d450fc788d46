import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone import manifest
from orpheus_clone.errors import ArtifactError
from orpheus_clone.manifest import Clip, Rejected

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
CLIPS = st.builds(
    Clip,
    id=TEXT,
    text=TEXT,
    source=TEXT,
    start_s=st.floats(0, 1e5),
    end_s=st.floats(0, 1e5),
    key=st.text("0123456789abcdef", min_size=64, max_size=64),
    seconds=st.floats(0.001, 100),
    frames=st.integers(1, 1000),
    source_head_ms=st.floats(0, 1e5),
    source_tail_ms=st.floats(0, 1e5),
    split=st.sampled_from(["train", "heldout"]),
)
CLIP = Clip("a", "Hello.", "a.wav", 0.0, 1.6, "0" * 64, 1.5, 17, 50.0, 100.0, "train")


@given(clips=st.lists(CLIPS, max_size=5))
def test_clips_read_back_as_they_were_written(
    clips: list[Clip], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "clips.jsonl"
    manifest.write_clips(path, clips)
    assert manifest.read_clips(path) == clips
    assert path.read_bytes().count(b"\n") == len(clips)


def lines_with(tmp_path: Path, second: str) -> Path:
    path = tmp_path / "clips.jsonl"
    path.write_text(json.dumps(asdict(CLIP)) + "\n" + second + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ("[]", "is not a clip"),
        ('{"id": "a"}', "is not a clip"),
        (json.dumps({**asdict(CLIP), "extra": 1}), "is not a clip"),
        (json.dumps({**asdict(CLIP), "frames": 0}), "clip a: 0 frames"),
        (json.dumps({**asdict(CLIP), "seconds": 0}), "0 s"),
        (json.dumps({**asdict(CLIP), "frames": "x"}), "'str' and 'int'"),
        (json.dumps({**asdict(CLIP), "split": "test"}), "split 'test' is not train or heldout"),
    ],
)
def test_a_broken_line_is_named_by_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=rf"clips\.jsonl:2: .*{message}.*run prepare again"):
        manifest.read_clips(lines_with(tmp_path, line))


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clips.jsonl"
    manifest.write_clips(path, [CLIP, CLIP])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match=r"clips\.jsonl:2: "):
        manifest.read_clips(path)


def test_a_missing_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"clips\.jsonl is missing; run prepare again"):
        manifest.read_clips(tmp_path / "clips.jsonl")


def test_rejections_are_one_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "rejected.jsonl"
    manifest.write_rejected(
        path,
        [
            Rejected("a", "a.wav", "too_short", "too short", 0.2),
            Rejected("b", "b", "no_audio", "ü"),
        ],
    )
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["too short", "ü"]


def test_the_split_follows_from_the_key_alone() -> None:
    assert manifest.split_of("00000000" + "f" * 56, 0.08) == "heldout"
    assert manifest.split_of("ffffffff" + "0" * 56, 0.08) == "train"
    # 0.25 of 2^32 is 0x40000000.
    assert manifest.split_of("3fffffff", 0.25) == "heldout"
    assert manifest.split_of("40000000", 0.25) == "train"


@given(st.text("0123456789abcdef", min_size=64, max_size=64))
def test_a_larger_share_moves_clips_only_one_way(key: str) -> None:
    if manifest.split_of(key, 0.1) == "heldout":
        assert manifest.split_of(key, 0.2) == "heldout"
