"""The corpus that one of nano's own voices speaks."""

import choose
import numpy as np
import spoken as recipe

from orpheus_clone import audio, manifest
from orpheus_clone.layout import PreparedDir
from orpheus_clone.models import BaseModel
from orpheus_clone.tokens import FRAME_SAMPLES
from orpheus_clone.train import dataset
from tests.nano.conftest import CLIPS


def test_train_reads_it_as_what_prepare_leaves(spoken: PreparedDir, base: BaseModel) -> None:
    rows = {split: dataset.read_rows(spoken, split, "ada", base) for split in ("train", "heldout")}
    assert [len(found) for found in rows.values()] == [24, 6]
    clips = manifest.read_clips(spoken.clips)
    assert len({clip.text for clip in clips}) == CLIPS == spoken.stamp().clips
    for clip in clips:
        assert len(audio.read(spoken.audio / f"{clip.key}.flac")) == clip.frames * FRAME_SAMPLES


def test_every_sentence_is_its_words_one_after_the_other(spoken: PreparedDir) -> None:
    codes = choose.codes_of(spoken)
    for clip in manifest.read_clips(spoken.clips):
        words = clip.text.lower().removesuffix(".").split()
        assert (
            codes[clip.id] == np.concatenate([recipe.units()["ada", word] for word in words])
        ).all()
