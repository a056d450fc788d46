"""The set is whole, labelled, and follows from its seed."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import compose
import draw
import numpy as np
import pytest
import soundfile
from voices import Voice, folder_voices, sex_by_pitch

from tests.signals import noise, tone

CLIPS = 12


@pytest.fixture(scope="module", autouse=True)
def short_interview() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compose, "INTERVIEW_TURNS", 5)
        yield


@pytest.fixture(scope="module")
def built(cast: dict[str, Voice], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("torture") / "set"
    compose.compose(out, cast, "wanted", seed=1, clips=CLIPS)
    return out


def labels(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_every_case_is_there_and_every_clip_has_one_label(built: Path) -> None:
    listed = labels(built)
    assert {label["case"] for label in listed} == set(draw.CASES)
    names = sorted(path.stem for path in (built / "clips").glob("*.flac"))
    assert [label["id"] for label in listed] == names
    for label in listed:
        case = draw.CASES[str(label["case"])]
        assert (label["kind"], label["expected"]) == (case.kind, "reject" if case.kind else "keep")


def test_what_was_not_said_is_told_and_what_was_said_is_labelled(built: Path) -> None:
    rows = (built / "clips" / "metadata.csv").read_text(encoding="utf-8").splitlines()
    claims = dict(row.split("|") for row in rows)
    for label in labels(built):
        if label["kind"] == "wrong_text":
            assert claims[str(label["id"])] != label["said"]
        if label["case"] in ("clean", "hum", "gated"):
            assert "said" not in label
            assert claims[str(label["id"])]
        if label.get("voice") == "man" and label["kind"] == "other_speaker":
            assert label["id"] not in claims


def test_equal_seeds_make_equal_sets_and_others_do_not(
    built: Path, cast: dict[str, Voice], tmp_path: Path
) -> None:
    compose.compose(tmp_path / "same", cast, "wanted", seed=1, clips=CLIPS)
    files = [path.relative_to(built) for path in built.rglob("*") if path.is_file()]
    assert files
    for file in files:
        assert (built / file).read_bytes() == (tmp_path / "same" / file).read_bytes(), file
    compose.compose(tmp_path / "other", cast, "wanted", seed=2, clips=CLIPS)
    same_labels = set(map(str, labels(built))) & set(map(str, labels(tmp_path / "other")))
    assert len(same_labels) < CLIPS / 2


def test_the_default_set_has_one_wrong_text_in_ten_and_more_to_keep_than_to_reject() -> None:
    cases = draw.CASES.values()
    total = sum(case.count for case in cases)
    wrong = sum(case.count for case in cases if case.kind == "wrong_text")
    kept = sum(case.count for case in cases if not case.kind)
    assert abs(wrong / total - 0.1) < 0.01
    assert kept > total / 2


def test_the_two_of_the_interview_take_turns_and_do_not_overlap(built: Path) -> None:
    lines = (built / "interview" / "turns.jsonl").read_text(encoding="utf-8").splitlines()
    turns = [json.loads(line) for line in lines]
    seconds = soundfile.info(built / "interview" / "interview.flac").duration
    assert {turn["role"] for turn in turns} == {"host", "guest"}
    assert {(turn["role"], turn["voice"]) for turn in turns} == {
        ("host", "wanted"),
        ("guest", "woman"),  # of whom it is known what she says
    }
    for before, after in pairwise(turns):
        assert before["start_s"] < before["end_s"] <= after["start_s"]
    assert turns[-1]["end_s"] <= seconds
    changes = sum(a["role"] != b["role"] for a, b in pairwise(turns))
    assert changes == compose.INTERVIEW_TURNS - 1


def test_a_folder_with_something_in_it_is_left_alone(
    cast: dict[str, Voice], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit, match="not empty"):
        compose.compose(tmp_path, cast, "wanted", 1, CLIPS)


def test_an_unknown_wanted_speaker_is_answered_with_the_known(
    cast: dict[str, Voice], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="only man, wanted, woman"):
        compose.compose(tmp_path / "set", cast, "nobody", 1, CLIPS)


def test_more_clips_than_there_are_is_refused(cast: dict[str, Voice], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="lower --clips"):
        compose.compose(tmp_path / "set", cast, "wanted", 1, 200)


def test_others_are_dealt_one_person_after_another(cast: dict[str, Voice]) -> None:
    dealt = draw._round_robin([cast["man"], cast["woman"]], 6, np.random.default_rng(0))
    assert Counter(name for name, _ in dealt) == {"man": 3, "woman": 3}
    assert len({(name, u.path) for name, u in dealt}) == 6


def test_kokoro_and_librispeech_are_found_in_a_folder(tmp_path: Path) -> None:
    rows = []
    for name, voice, hertz in (("a", "af_heart", 220.0), ("b", "am_adam", 110.0)):
        soundfile.write(tmp_path / f"{name}.flac", tone(1500, -20, hertz), 24_000)
        rows.append({"audio": f"{name}.flac", "text": "Two words.", "voice": voice})
    table = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "clips.jsonl").write_text(table, encoding="utf-8")
    read = tmp_path / "librispeech_train-clean-100__103-1240-0000.flac"
    soundfile.write(read, tone(1500, -20, 110), 24_000)
    found = folder_voices(tmp_path)
    assert {name: voice.sex for name, voice in found.items()} == {
        "af_heart": "f",
        "am_adam": "m",
        "103": "m",
    }
    assert [u.text for u in found["af_heart"].utterances] == ["Two words."]
    assert [u.text for u in found["103"].utterances] == [None]


def test_a_folder_without_speech_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no clips\.jsonl"):
        folder_voices(tmp_path)


@pytest.mark.parametrize(("hertz", "sex"), [(110, "m"), (160, None), (220, "f")])
def test_a_pitch_between_the_two_is_nobodys(hertz: float, sex: str | None, tmp_path: Path) -> None:
    path = tmp_path / f"{hertz}.flac"
    soundfile.write(path, tone(1000, -20, hertz) + noise(1000, -60), 24_000)
    assert sex_by_pitch(path) == sex
