"""The constructed run's parts: what is drawn, what is cut, and which epoch is called better."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import choose
import pytest
from choose import CUT, Verdict

from orpheus_clone import audio, manifest
from orpheus_clone.layout import PreparedDir
from orpheus_clone.models import BaseModel
from orpheus_clone.tokens import FRAME_SAMPLES
from tests.nano.conftest import CLIPS


def test_a_quarter_of_what_the_seed_draws_is_cut_held_out_or_not(
    spoken: PreparedDir, tmp_path: Path
) -> None:
    out = PreparedDir(tmp_path / "data")
    others = choose.draw(spoken, out, 20, 0.25, seed=1)
    drawn, whole = manifest.read_clips(out.clips), manifest.read_clips(spoken.clips)
    assert len(drawn) == out.stamp().clips == 20
    assert len(others) == CLIPS - 20
    assert not {clip.id for clip in drawn} & {clip.id for clip in others}
    frames, texts = ({clip.id: getattr(clip, of) for clip in whole} for of in ("frames", "text"))
    cut = [clip for clip in drawn if clip.frames == round((1 - CUT) * frames[clip.id])]
    assert [sum(clip.split == split for clip in cut) for split in ("train", "heldout")] == [4, 1]
    assert {clip.frames for clip in drawn if clip not in cut} <= set(frames.values())
    codes, before = choose.codes_of(out), choose.codes_of(spoken)
    for clip in drawn:
        assert clip.text == texts[clip.id]
        assert (codes[clip.id] == before[clip.id][: clip.frames]).all()
        assert len(audio.read(out.audio / f"{clip.key}.flac")) == clip.frames * FRAME_SAMPLES


def test_the_same_seed_draws_the_same_and_another_does_not(
    spoken: PreparedDir, tmp_path: Path
) -> None:
    one, again, other = (
        choose.draw(spoken, PreparedDir(tmp_path / name), 10, 0.25, seed)
        for name, seed in (("one", 1), ("again", 1), ("other", 2))
    )
    assert one == again != other


def test_the_prompts_are_none_that_train_uses(base: BaseModel) -> None:
    used = (files("orpheus_clone.train") / "prompts.txt").read_text(encoding="utf-8").splitlines()
    prompts = choose.prompts(base)
    assert len(set(prompts)) == choose.PROMPTS
    assert not set(prompts) & set(used)
    small = replace(base, prompts=tuple(f"Sentence {n}." for n in range(40)))
    assert not set(choose.prompts(small)) & set(small.prompts[:12])
    assert len(set(choose.prompts(small))) == choose.PROMPTS


@pytest.mark.parametrize(
    ("lowest", "chosen", "better"),
    [
        (Verdict(2, 0.30, 0.5), Verdict(7, 0.10, 0.4), "chosen"),
        (Verdict(2, 0.10, 0.4), Verdict(7, 0.30, 0.5), "lowest_loss"),
        (Verdict(2, 0.10, 0.4), Verdict(7, 0.105, 0.5), "chosen"),
        (Verdict(2, 0.105, 0.5), Verdict(7, 0.10, 0.4), "lowest_loss"),
        (Verdict(2, 0.10, 0.4), Verdict(2, 0.10, 0.4), None),
    ],
)
def test_better_is_fewer_words_wrong_and_then_the_nearer_voice(
    lowest: Verdict, chosen: Verdict, better: str | None
) -> None:
    found = choose.summary(lowest, chosen)
    assert found["better"] == better
    assert found["differ"] is (better is not None)


def test_a_random_base_is_refused(spoken: PreparedDir, base: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is random and cannot speak"):
        choose.main([str(spoken.root), str(tmp_path / "out"), "--base", str(base.name)])
