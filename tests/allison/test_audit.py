"""The audit's verdicts by hand, and a draw that its seed decides."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orpheus_clone import audio
from orpheus_clone.tokens import SAMPLE_RATE
from tests.signals import tone

sys.path.insert(0, str(Path(__file__).parents[2] / "recipes" / "allison"))
import audit
from audit import Drawn, Judged

LONG, SHORT = (10, 1.0), (9, 0.99)


@pytest.mark.parametrize(
    ("cer", "similarity", "size", "verdict"),
    [
        (0.2, 0.5, LONG, "good"),
        (0.21, 0.5, LONG, "undecided"),
        (0.2, 0.49, LONG, "undecided"),
        (0.4, 0.3, LONG, "undecided"),
        (0.41, 0.9, LONG, "bad"),
        (0.0, 0.29, LONG, "bad"),
        (None, 0.9, LONG, "undecided"),
        (None, 0.29, LONG, "bad"),
        (0.0, 0.5, SHORT, "good"),
        (0.1, 0.9, SHORT, "undecided"),
        (1.0, 0.0, SHORT, "undecided"),
        (1.0, 0.9, (10, 0.99), "bad"),
        (0.0, 0.29, (9, 1.0), "bad"),
    ],
)
def test_good_needs_both_judges_and_bad_one_that_can_tell(
    cer: float | None, similarity: float, size: tuple[int, float], verdict: str
) -> None:
    assert audit.verdict(cer, similarity, *size) == verdict


@pytest.mark.parametrize(
    ("text", "heard", "cer"),
    [
        ("Record mode", "record mode.", 0.0),
        ("Truncating audio", "trunkating audio", 1 / 16),
        ("Two", "2.", 0.0),
        ("...", "a lot of words here", None),
        (None, "a lot of words here", None),
    ],
)
def test_letters_are_counted_after_capitals_and_signs_are_gone(
    text: str | None, heard: str, cer: float | None
) -> None:
    assert audit.character_error_rate(text, heard) == cer


def judged(verdict: str, kind: str = "") -> Judged:
    return Judged("x", kind, verdict, 0.1, 0.6, 2.0, "text", "heard")


def test_only_what_was_rejected_for_words_or_voice_is_held_against_prepare() -> None:
    rejected = [
        judged("good", "wrong_text"),
        judged("bad", "other_speaker"),
        judged("good", "noisy"),
        judged("unheard", "no_audio"),
    ]
    counts = audit.summary(rejected, [judged("bad"), judged("good"), judged("undecided")])
    assert counts == {
        "rejected": 4,
        "rejected_for_words_or_voice": 2,
        "rejected_called_good": 1,
        "others_called_good": 1,
        "rejected_undecided": 0,
        "rejected_unheard": 1,
        "kept": 3,
        "kept_called_bad": 1,
        "kept_undecided": 1,
    }


def test_the_worst_is_listed_first() -> None:
    lines = audit.listing([judged("good"), judged("bad"), judged("undecided")]).splitlines()
    assert [line.split()[0] for line in lines] == ["bad", "undecided", "good"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """50 kept clips, and 30 rejected of which one has no recording."""
    source, prepared = tmp_path / "source", tmp_path / "prepared"
    (source / "audio").mkdir(parents=True)
    (prepared / "audio").mkdir(parents=True)
    audio.write(prepared / "audio" / "key.flac", tone(500))
    soundfile.write(source / "audio" / "r1.flac", tone(700), SAMPLE_RATE)
    (source / "transcripts.txt").write_text("r1: one two\nr2: three\n", encoding="utf-8")
    kept = [{"id": f"k{n}", "key": "key", "text": "said"} for n in range(50)]
    rejected = [
        {"id": f"r{n}", "kind": "wrong_text", "source": str(source / "audio" / f"r{n}.flac")}
        for n in range(1, 31)
    ]
    for name, rows in (("clips", kept), ("rejected", rejected)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (prepared / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def test_the_seed_decides_who_is_drawn(corpus: Path) -> None:
    def names(seed: int) -> list[str]:
        kept, rejected = audit.draw(corpus / "prepared", corpus / "source", seed)
        assert (len(kept), len(rejected)) == (40, 20)
        return [clip.id for clip in (*kept, *rejected)]

    assert names(1) == names(1)
    assert names(1) != names(2)
    assert len(set(names(1))) == 60


def test_a_rejected_clip_comes_with_its_recording_and_its_transcript(corpus: Path) -> None:
    drawn: dict[str, Drawn] = {}
    for seed in range(20):
        _, rejected = audit.draw(corpus / "prepared", corpus / "source", seed)
        drawn |= {clip.id: clip for clip in rejected}
    first, second = drawn["r1"], drawn["r2"]
    assert first.samples is not None
    assert (len(first.samples), first.text) == (0.7 * SAMPLE_RATE, "one two")
    assert (second.samples, second.text, second.kind) == (None, "three", "wrong_text")
    unheard = audit.judge(second, np.zeros(192, np.float32))
    assert (unheard.verdict, unheard.cer, unheard.similarity) == ("unheard", None, None)


def test_a_folder_that_prepare_did_not_write_is_named(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"rejected\.jsonl is missing"):
        audit.draw(tmp_path, corpus / "source", 0)
