import shutil
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone import manifest
from orpheus_clone.errors import ArtifactError
from orpheus_clone.layout import PreparedDir
from orpheus_clone.models import BaseModel
from orpheus_clone.tokens import TrainingRow
from orpheus_clone.train.dataset import batches, loss_tokens, read_rows


def test_rows_are_whole_prompts_and_whole_clips(prepared: PreparedDir, base: BaseModel) -> None:
    clips = {clip.text: clip for clip in manifest.read_clips(prepared.clips)}
    rows = [
        row for split in ("train", "heldout") for row in read_rows(prepared, split, "jack", base)
    ]
    assert len(rows) == len(clips)
    for row in rows:
        start = row.input_ids.index(128257)
        spoken = base.tokenizer().decode(row.input_ids[2 : start - 3])
        clip = clips[spoken.removeprefix("jack: ")]
        assert row.input_ids[-2:] == [128258, 128262]
        assert len(row.input_ids) - start - 3 == 7 * clip.frames
        assert row.labels[: start + 1] == [-100] * (start + 1)


@given(
    count=st.integers(1, 60),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 5),
)
def test_an_epoch_is_a_permutation_of_all_rows(
    count: int, batch_size: int, seed: int, epoch: int
) -> None:
    groups = batches(count, batch_size, seed, epoch)
    assert sorted(row for group in groups for row in group) == list(range(count))
    assert {len(group) for group in groups[:-1]} <= {batch_size}
    assert 1 <= len(groups[-1]) <= batch_size
    assert groups == batches(count, batch_size, seed, epoch)


def test_each_epoch_and_each_seed_has_its_own_order() -> None:
    orders = [batches(20, 20, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])


def test_the_first_label_of_a_row_takes_no_loss() -> None:
    rows = [TrainingRow([1, 2, 3], [-100, 2, 3]), TrainingRow([4, 5], [4, 5])]
    assert loss_tokens(rows) == 3


def test_a_directory_that_prepare_did_not_write_is_refused(tmp_path: Path, base: BaseModel) -> None:
    with pytest.raises(ArtifactError, match="dataset: is not a prepared dataset"):
        read_rows(PreparedDir(tmp_path), "train", "jack", base)


@pytest.mark.parametrize("codes", [[1] * 13, [-1] * 7, [4096] * 7, []])
def test_a_clip_with_impossible_codes_is_named(
    tmp_path: Path, base: BaseModel, codes: list[int]
) -> None:
    data = PreparedDir(tmp_path)
    row = {"id": "c1", "text": "Hi.", "codes": np.array(codes, np.int16)}
    DatasetDict({"train": Dataset.from_list([row])}).save_to_disk(str(data.dataset))
    with pytest.raises(ArtifactError, match=r"clip c1: .*; run prepare again"):
        read_rows(data, "train", "jack", base)


def test_a_damaged_dataset_is_refused(
    tmp_path: Path, prepared: PreparedDir, base: BaseModel
) -> None:
    data = PreparedDir(Path(shutil.copytree(prepared.root, tmp_path / "jack")))
    for file in data.dataset.rglob("*.arrow"):
        file.write_bytes(b"nonsense")
    with pytest.raises(ArtifactError, match="is not a prepared dataset"):
        read_rows(data, "train", "jack", base)
