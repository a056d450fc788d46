"""What is kept of an unfinished evaluation, and when it is forgotten."""

from pathlib import Path

import numpy as np
import pytest

from orpheus_clone.errors import ArtifactError
from orpheus_clone.eval.keep import Kept
from orpheus_clone.eval.speed import Arrival, Utterance
from tests.signals import tone

SPOKEN = Utterance(
    "Yes.", tone(100), 14, "stop", 0.1, 0.5, [Arrival(0.2, 2400)], 7, decoded_s=0.2, decoding_s=0.01
)


def test_an_utterance_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "a")
    kept.keep("prompts", 3, SPOKEN)
    again = Kept(tmp_path, "a").utterances("prompts")
    assert list(again) == [3]
    assert np.abs(again[3].samples - SPOKEN.samples).max() <= 2**-15
    facts = {**vars(SPOKEN), "samples": None}
    assert {**vars(again[3]), "samples": None} == facts
    assert kept.utterances("heldout") == {}
    assert [path.name for path in kept.sounds()["prompts"]] == ["004.flac"]


def test_an_utterance_that_was_being_written_is_spoken_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "a")
    kept.keep("prompts", 0, SPOKEN)
    (tmp_path / "prompts" / "001.json").unlink()
    assert kept.utterances("prompts") == {}


def test_figures_say_that_a_part_is_done(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "a")
    assert kept.figures("sweep-4") is None
    kept.keep_figures("sweep-4", {"rate_p5": 90.0})
    assert Kept(tmp_path, "a").figures("sweep-4") == {"rate_p5": 90.0}


def test_another_evaluation_begins_anew(tmp_path: Path) -> None:
    Kept(tmp_path, "a").keep("prompts", 0, SPOKEN)
    assert Kept(tmp_path, "b").utterances("prompts") == {}
    assert Kept(tmp_path, "a").utterances("prompts") == {}


def test_a_finished_evaluation_leaves_nothing(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "work", "a")
    kept.keep("prompts", 0, SPOKEN)
    kept.forget()
    assert not (tmp_path / "work").exists()


def test_a_file_that_eval_did_not_write_is_named(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "a")
    kept.keep("prompts", 0, SPOKEN)
    (tmp_path / "prompts" / "001.json").write_text('{"text": "Yes."}', encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"001\.json: is not what eval wrote"):
        kept.utterances("prompts")
