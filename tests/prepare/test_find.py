"""Files and datasets, together."""

from pathlib import Path

import pytest
from datasets import Audio, Dataset

from orpheus_clone import recipe
from orpheus_clone.errors import TranscriptError
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare.find import find
from orpheus_clone.prepare.order import Order
from tests.conftest import DATA_SAMPLES, UNJUDGED


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    rows = {
        "audio": [{"bytes": (DATA_SAMPLES / f"{n}.flac").read_bytes(), "path": f"{n}.flac"}
                  for n in ("001", "002")],
        "sentence": ["One.", "Two."],
    }  # fmt: skip
    made = Dataset.from_dict(rows).cast_column("audio", Audio(decode=False))
    made.save_to_disk(str(tmp_path / "rows"))
    return tmp_path / "rows"


def order(base: BaseModel, *places: Path) -> Order:
    return Order([str(p) for p in places], "jack", base, recipe=recipe.load(None, UNJUDGED))


def test_rows_of_a_dataset_lie_beside_files(
    dataset: Path, recordings: Path, base: BaseModel, tmp_path: Path
) -> None:
    found, rejected = find(
        order(base, recordings, dataset), tmp_path / "cache", may_lack_text=False
    )
    assert [r.id for r in found] == [*(f"c{n}" for n in range(1, 7)), "001", "002"]
    assert [r.text for r in found[-2:]] == ["One.", "Two."]
    assert all(r.path.is_file() for r in found)
    assert rejected == []


def test_a_dataset_alone_needs_no_transcripts(
    dataset: Path, base: BaseModel, tmp_path: Path
) -> None:
    found, _ = find(order(base, dataset), tmp_path / "cache", may_lack_text=False)
    assert len(found) == 2


def test_a_name_in_both_is_refused(
    dataset: Path, recordings: Path, base: BaseModel, own_recordings: Path, tmp_path: Path
) -> None:
    (own_recordings / "c1.flac").rename(own_recordings / "001.flac")
    (own_recordings / "001.txt").write_text("Hello.", encoding="utf-8")
    with pytest.raises(TranscriptError, match=r"same name '001'.*rename one"):
        find(order(base, own_recordings, dataset), tmp_path / "cache", may_lack_text=False)


def test_what_prepare_wrote_itself_is_no_recording(
    own_recordings: Path, base: BaseModel, tmp_path: Path
) -> None:
    out = own_recordings / "data"
    (out / "audio").mkdir(parents=True)
    (out / "audio" / "key.flac").write_bytes(b"")
    found, rejected = find(
        order(base, own_recordings), tmp_path / "cache", may_lack_text=False, but_not_in=out
    )
    assert ([r.id for r in found], rejected) == ([f"c{n}" for n in range(1, 7)], [])
