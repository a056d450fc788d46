"""Datasets are made of data_samples, as a customer's `save_to_disk` would leave them."""

from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from datasets import Audio, Dataset, DatasetDict, Features, Value, disable_progress_bars

from orpheus_clone import audio
from orpheus_clone.errors import RecipeError, TranscriptError
from orpheus_clone.prepare.hub_dataset import is_dataset, recordings_of

SAMPLES = Path(__file__).parents[2] / "data_samples"


@pytest.fixture(autouse=True)
def quiet() -> None:
    disable_progress_bars()


def stored(number: int, path: str | None = None) -> dict[str, Any]:
    """What an audio column holds of a sample."""
    file = SAMPLES / f"{number:03}.flac"
    return {"bytes": file.read_bytes(), "path": file.name if path is None else path or None}


def dataset(columns: dict[str, list[Any]], *audio_columns: str) -> Dataset:
    kinds = {"i": Value("int64")}
    features = {
        name: Audio() if name in (audio_columns or ("audio",)) else kinds.get(name, Value("string"))
        for name in columns
    }
    # Not from_dict, which encodes audio and needs torchcodec for it.
    return Dataset(pa.Table.from_pydict(columns, schema=Features(features).arrow_schema))


def saved(folder: Path, content: Dataset | DatasetDict) -> Path:
    content.save_to_disk(str(folder / "set"))
    return folder / "set"


def test_rows_become_recordings_that_hold_the_same_sound(tmp_path: Path) -> None:
    content = dataset({"audio": [stored(1), stored(2)], "text": ["One.", "Two."]})
    place = saved(tmp_path, content)
    assert is_dataset(place)
    found = recordings_of(place, tmp_path / "cache")
    assert [(r.id, r.text, r.path.name) for r in found] == [
        ("001", "One.", "001.flac"),
        ("002", "Two.", "002.flac"),
    ]
    assert (audio.read(found[1].path) == audio.read(SAMPLES / "002.flac")).all()


def test_splits_are_read_in_order_and_name_rows_without_a_name(tmp_path: Path) -> None:
    content = DatasetDict(
        {
            "train": dataset({"audio": [stored(1, ""), stored(2, "")], "sentence": ["One.", None]}),
            "test": dataset({"audio": [stored(3, "")], "sentence": ["Three."]}),
        }
    )
    place = saved(tmp_path, content)
    assert is_dataset(place)
    found = recordings_of(place, tmp_path / "cache")
    assert [(r.id, r.text) for r in found] == [
        ("train-000000", "One."),
        ("train-000001", None),
        ("test-000000", "Three."),
    ]
    assert found[0].path.suffix == ".flac"


def test_an_id_column_names_rows_and_a_map_names_columns(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {
        "id": ["a.wav", "w/b"],
        "x": [stored(1), stored(2)],
        "y": [stored(3), stored(4)],
        "text": ["1", "2"],
        "said": ["One", "Two"],
    }
    place = saved(tmp_path, dataset(columns, "x", "y"))
    with pytest.raises(RecipeError, match=r"has 2 audio columns .*map one"):
        recordings_of(place, tmp_path / "cache")
    found = recordings_of(place, tmp_path / "cache", {"audio": "y", "text": "said"})
    assert [(r.id, r.text) for r in found] == [("a", "One"), ("b", "Two")]
    assert found[0].path.read_bytes() == (SAMPLES / "003.flac").read_bytes()
    with pytest.raises(RecipeError, match=r"no column 'words' \(columns: id, x, y, text, said\)"):
        recordings_of(place, tmp_path / "cache", {"audio": "y", "text": "words"})
    with pytest.raises(RecipeError, match="there is no column 'z'"):
        recordings_of(place, tmp_path / "cache", {"audio": "z"})
    with pytest.raises(RecipeError, match="has no audio columns"):
        recordings_of(saved(tmp_path / "2", dataset({"text": ["x"]})), tmp_path / "cache")


def test_a_row_that_names_a_file_is_not_copied(tmp_path: Path) -> None:
    file = SAMPLES / "001.flac"
    place = saved(tmp_path, dataset({"path": [str(file)]}))
    (found,) = recordings_of(place, tmp_path / "cache", {"audio": "path"})
    assert (found.path, found.text) == (file, None)
    assert not (tmp_path / "cache").exists()


def test_what_is_written_already_stays_and_what_changed_is_written_anew(tmp_path: Path) -> None:
    place = saved(tmp_path, dataset({"audio": [stored(1)]}))
    (found,) = recordings_of(place, tmp_path / "cache")
    before = found.path.stat()
    assert recordings_of(place, tmp_path / "cache") == [found]
    assert found.path.stat().st_mtime_ns == before.st_mtime_ns
    changed = bytearray(found.path.read_bytes())
    changed[-1] ^= 1
    found.path.write_bytes(changed)
    recordings_of(place, tmp_path / "cache")
    assert found.path.read_bytes() == (SAMPLES / "001.flac").read_bytes()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"audio": [stored(1), stored(2, "x/001.wav")]}, "row 1: '001' is there already"),
        ({"path": ["none.wav"]}, r"row 0: .*there is no file none\.wav"),
        ({"audio": [{"bytes": b"?!", "path": None}]}, "row 0: it is not known what kind of audio"),
        ({"audio": [stored(1)], "text": ["x"], "i": [1]}, "row 0: the column 'i' holds no text"),
        ({"audio": []}, "cannot be opened as a dataset"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(
    tmp_path: Path, columns: dict[str, list[Any]], message: str
) -> None:
    place = saved(tmp_path, dataset(columns))
    mapping = {"text": "i"} if "i" in columns else {"audio": "path"} if "path" in columns else None
    with pytest.raises(TranscriptError, match=message):
        recordings_of(place, tmp_path / "cache", mapping)


def test_a_folder_that_is_no_dataset_or_a_broken_one_is_told(tmp_path: Path) -> None:
    assert not is_dataset(tmp_path)
    with pytest.raises(TranscriptError, match="cannot be opened as a dataset"):
        recordings_of(tmp_path, tmp_path / "cache")
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train"]}', encoding="utf-8")
    with pytest.raises(TranscriptError, match="cannot be opened as a dataset"):
        recordings_of(tmp_path, tmp_path / "cache")
