"""What an order's words mean."""

from pathlib import Path

import pytest

from orpheus_clone.errors import RecipeError
from orpheus_clone.judges import Judges
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare.order import Order, check_speaker, parse_columns, read_consent


@pytest.mark.parametrize(
    ("given", "columns"),
    [
        (None, None),
        ("audio=file", {"audio": "file"}),
        (" audio = file ,text=what was said", {"audio": "file", "text": "what was said"}),
        ("text=a=b", {"text": "a=b"}),
    ],
)
def test_columns_are_pairs(given: str | None, columns: dict[str, str] | None) -> None:
    assert parse_columns(given) == columns


@pytest.mark.parametrize("given", ["", "audio", "audio=", "sound=x", "audio=x,"])
def test_what_is_no_map_of_columns_is_refused(given: str) -> None:
    with pytest.raises(RecipeError, match="expected audio=NAME,text=NAME"):
        parse_columns(given)


def test_a_consent_may_be_any_text(tmp_path: Path) -> None:
    path = tmp_path / "consent.txt"
    path.write_text("until we meet again", encoding="utf-8")
    record = read_consent(path)
    assert record is not None
    assert record["record"] == "until we meet again"
    assert read_consent(None) is None


def test_a_speaker_that_nothing_can_tell_is_refused_not_ignored(
    tmp_path: Path, base: BaseModel
) -> None:
    nobody = Judges(None, None, None, ())
    with pytest.raises(RecipeError, match=r"--speaker .*nothing here tells voices apart"):
        check_speaker(Order(["a"], "jack", base, speaker=tmp_path / "jack.wav"), nobody)
    check_speaker(Order(["a"], "jack", base), nobody)
