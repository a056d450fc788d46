"""Precision and recall by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import score

from orpheus_clone import audio
from tests.signals import joined, noise, tone

LABELS: list[dict[str, Any]] = [
    {"id": f"t{n}", "case": case, "expected": "reject" if kind else "keep", "kind": kind}
    for n, (case, kind) in enumerate(
        [
            ("clean", ""),
            ("clean", ""),
            ("head_3s", ""),
            ("same_sex", "other_speaker"),
            ("same_sex", "other_speaker"),
            ("swapped", "wrong_text"),
            ("cut", "wrong_text"),
            ("music", "music"),
        ]
    )
]
LABELS[4]["also"] = ["wrong_text"]
KEPT: list[dict[str, Any]] = [
    {"id": "t0", "key": "k0", "source": "t0.flac", "flags": []},
    {"id": "t2", "key": "k2", "source": "t2.flac", "flags": ["heard 'a' for 'b'"]},
    {"id": "t6", "key": "k6", "source": "t6.flac", "flags": ["heard 'a' for 'b'"]},
    {"id": "t7", "key": "k7", "source": "t7.flac", "flags": []},
]
REJECTED = [
    {"id": "t1", "kind": "other_speaker"},
    {"id": "t3", "kind": "other_speaker"},
    {"id": "t4", "kind": "wrong_text"},
    {"id": "t5", "kind": "wrong_text"},
]


def test_each_share_is_what_the_table_says_it_is() -> None:
    scores = score.by_kind(LABELS, score.verdicts(KEPT, REJECTED))
    assert set(scores) == {"other_speaker", "wrong_text", "music"}
    assert scores["other_speaker"] == score.Score(2, 2, 0.5, 0.5, 0.5, 1.0, 1.0, 1)
    assert scores["wrong_text"] == score.Score(2, 2, 1.0, 1.0, 0.5, 0.5, 1.0, 0)
    assert scores["music"] == score.Score(1, 0, None, None, 0.0, 0.0, 0.0, 0)


def test_each_case_tells_what_became_of_it() -> None:
    outcomes = score.by_case(LABELS, score.verdicts(KEPT, REJECTED))
    assert list(outcomes)[:2] == ["clean", "head_3s"]  # what is to be kept comes first
    assert (outcomes["clean"].kept, outcomes["clean"].rejected) == (1, {"other_speaker": 1})
    assert outcomes["head_3s"].flagged == 1
    assert score.totals(LABELS, score.verdicts(KEPT, REJECTED)) == {
        "good": 3,
        "good_lost": 1,
        "good_flagged": 1,
        "faulty": 5,
        "faulty_kept": 2,
    }
    recalls = score.recall_by_case(LABELS, score.verdicts(KEPT, REJECTED))
    assert recalls == {"same_sex": 0.5, "swapped": 1.0, "cut": 0.0, "music": 0.0}


def test_a_recording_of_which_a_part_was_kept_is_kept() -> None:
    kept = [{"id": "t1", "flags": []}]
    assert score.verdicts(kept, [{"id": "t1", "kind": "noisy"}])["t1"].is_kept


def test_the_guest_is_told_in_minutes_kept(tmp_path: Path) -> None:
    turns = [
        {"start_s": 0, "end_s": 10, "role": "host"},
        {"start_s": 11, "end_s": 15, "role": "guest"},
        {"start_s": 16, "end_s": 20, "role": "host"},
    ]
    (tmp_path / "interview").mkdir()
    lines = "".join(json.dumps(turn) + "\n" for turn in turns)
    (tmp_path / "interview" / "turns.jsonl").write_text(lines, encoding="utf-8")
    kept = [
        {"source": "x/interview.flac", "start_s": 1.0, "end_s": 9.0},
        {"source": "x/interview.flac", "start_s": 14.0, "end_s": 18.0},
        {"source": "x/other.flac", "start_s": 0.0, "end_s": 20.0},
    ]
    assert score.interview(tmp_path, kept) == {
        "host_s": 14,
        "kept_host_s": 10,
        "guest_s": 4,
        "kept_guest_s": 1,
        "kept_mixed_clips": 1,
    }
    assert score.interview(tmp_path, []) == {}


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8")


def test_a_score_is_two_tables_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared, of = tmp_path / "prepared", tmp_path / "set"
    write(of, "labels.jsonl", [*LABELS, {"id": "lost", "case": "clean", "kind": ""}])
    write(of / "interview", "turns.jsonl", []) if of.is_dir() else None
    write(prepared, "clips.jsonl", KEPT)
    write(prepared, "rejected.jsonl", REJECTED)
    clip = joined(noise(50, -65), tone(1000), noise(100, -65))
    (prepared / "audio").mkdir()
    audio.write(prepared / "audio" / "k2.flac", clip)
    assert score.main([str(prepared), str(of)]) == 0
    out, err = capsys.readouterr()
    line = json.loads(out.splitlines()[-1])
    assert (line["clips"], line["missing"]) == (8, 1)
    assert "neither kept nor rejected: lost" in err
    assert line["kinds"]["other_speaker"]["recall"] == 0.5
    assert line["head_p50_ms"] == pytest.approx(50, abs=10)
    assert "good lost" in out


def test_a_folder_that_is_no_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"labels\.jsonl is missing"):
        score.main([str(tmp_path), str(tmp_path)])
