from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone import disk, layout
from orpheus_clone.errors import ArtifactError, DataError
from orpheus_clone.layout import PreparedDir, PreparedStamp, RunDir, checked_voice_name

STAMP = PreparedStamp(
    voice="jack",
    language="en",
    base="nano",
    base_digest="b" * 64,
    codec_digest="c" * 64,
    clips=5,
    heldout=1,
    rejected=0,
    seconds=6.5,
    gain_db=-1.5,
    notes=["words are not checked"],
    judges={"asr": None},
    data_digest="d" * 64,
    inputs_digest="f" * 64,
    consent={"sha256": "e" * 64, "record": "I agree. — Jack"},
    versions={"orpheus-clone": "0.1.0"},
)


@pytest.mark.parametrize("name", ["jack", "0", "a" * 64, "jack-2_x"])
def test_voice_names_that_may_be(name: str) -> None:
    assert checked_voice_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *["", "../x", "a/b", "a\\b", ".", "..", "Jack", "JACK", "-jack", "_jack", "a" * 65],
        *["jack@1", "jack:", "jack doe", "jäck", "a.b", "jack\x00", "jack\n"],
    ],
)
def test_voice_names_that_may_not_be(name: str) -> None:
    with pytest.raises(DataError, match=r"voice name .*: use 1 to 64"):
        checked_voice_name(name)


def test_a_stock_voice_cannot_be_cloned_over() -> None:
    with pytest.raises(DataError, match=r"'tara' is a stock voice .* choose another name"):
        checked_voice_name("tara", ("tara", "leo"))


@given(st.text())
def test_a_legal_voice_name_is_one_harmless_path_component(name: str) -> None:
    try:
        checked_voice_name(name)
    except DataError:
        return
    assert Path("voices", name).resolve().parent == Path("voices").resolve()


def test_a_stamp_reads_back(tmp_path: Path) -> None:
    data = PreparedDir(tmp_path)
    layout.write_stamp(data.stamp_file, STAMP)
    assert data.stamp() == STAMP


@pytest.mark.parametrize(
    ("directory", "command"),
    [(PreparedDir, "orpheus-clone prepare AUDIO"), (RunDir, "orpheus-clone train DATA_DIR")],
)
def test_a_missing_stamp_names_the_command_that_makes_it(
    tmp_path: Path, directory: Callable[[Path], PreparedDir | RunDir], command: str
) -> None:
    with pytest.raises(ArtifactError, match=f"is missing; run: {command}.*--out {tmp_path}"):
        directory(tmp_path).stamp()


def test_a_stamp_of_another_version_is_refused_with_its_odd_fields(tmp_path: Path) -> None:
    data = PreparedDir(tmp_path)
    disk.write_json(data.stamp_file, {"voice": "jack", "shoe_size": 44})
    with pytest.raises(ArtifactError, match=r"another version \(fields .*shoe_size.*run: "):
        data.stamp()


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b"[1]", b"3"])
def test_a_broken_stamp_is_refused(tmp_path: Path, content: bytes) -> None:
    data = PreparedDir(tmp_path)
    data.stamp_file.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"prepared\.json: is not .*run: "):
        data.stamp()


def test_stamps_name_the_versions_that_shape_a_result() -> None:
    assert {"orpheus-clone", "python", "torch", "transformers", "snac"} <= set(layout.versions())
