"""The bench fleet: cells are measured up to the first that is not in real time, and kept."""

import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from orpheus_clone.bench import fleet, voices
from orpheus_clone.bench.fleet import Cell, Series, Sheet, Stage
from orpheus_clone.bench.paced import FreeCodec, PacedEngine
from orpheus_clone.bench.random_base import write
from orpheus_clone.errors import RecipeError
from orpheus_clone.lora import check
from orpheus_clone.models import BaseModel, locate
from orpheus_clone.speech import Speaker, Voice
from tests.commands import run

ONE, EIGHT = Series("fp8", 1), Series("fp8", 8)


def cell(series: Series, streams: int, rate: float) -> Cell:
    return Cell(series.precision, series.loras, streams, 16, rate, 100.0, 80.0, 99.0, 0)


@pytest.fixture
def sheet(tmp_path: Path) -> Sheet:
    return Sheet(tmp_path / "fleet.json", "random 3b", "a card")


def test_the_ladder_is_climbed_until_real_time_breaks(sheet: Sheet) -> None:
    assert (sheet.next_streams(ONE), sheet.real_time_streams(ONE)) == (1, 0)
    sheet.add(cell(ONE, 1, 150.0))
    assert (sheet.next_streams(ONE), sheet.real_time_streams(ONE)) == (8, 1)
    sheet.add(cell(ONE, 8, 82.04))
    assert (sheet.next_streams(ONE), sheet.real_time_streams(ONE)) == (16, 8)
    sheet.add(cell(ONE, 16, 82.03))
    assert (sheet.next_streams(ONE), sheet.real_time_streams(ONE)) == (None, 8)
    assert sheet.next_streams(EIGHT) == 1


def test_a_ladder_that_holds_to_its_end_is_done(sheet: Sheet) -> None:
    for streams in fleet.LADDER:
        sheet.add(cell(ONE, streams, 100.0))
    assert sheet.next_streams(ONE) is None
    assert sheet.real_time_streams(ONE) == fleet.LADDER[-1]


def test_what_was_measured_is_there_when_it_is_run_again_and_of_another_card_refused(
    sheet: Sheet,
) -> None:
    sheet.add(cell(ONE, 1, 150.0))
    sheet.add(cell(EIGHT, 1, 90.0))
    again = Sheet.at(sheet.path, sheet.model, sheet.hardware)
    assert again == sheet
    with pytest.raises(RecipeError, match="is of random 3b on a card, and this is nano on a card"):
        Sheet.at(sheet.path, "nano", "a card")


def test_the_line_says_what_each_series_has_and_whether_that_is_final(sheet: Sheet) -> None:
    sheet.add(cell(ONE, 1, 150.0))
    unfinished = fleet.result(sheet, [ONE, EIGHT]).line
    assert (unfinished["is_complete"], unfinished["streams_fp8_1"]) == (False, 1)
    for series in (ONE, EIGHT):
        sheet.add(cell(series, 8, 10.0))
    done = fleet.result(sheet, [ONE, EIGHT])
    assert (done.line["is_complete"], done.line["streams_fp8_1"]) == (True, 1)
    assert [row["real time"] for row in done.rows] == [True, False, False]


Opened = Callable[[Series], contextlib.AbstractAsyncContextManager[Stage]]


@pytest.fixture
def opened(base: BaseModel) -> Opened:
    """Engines that have a rate of 160 at 1 LoRA and 20 at 8."""

    @contextlib.asynccontextmanager
    async def stage(series: Series) -> AsyncGenerator[Stage, None]:
        engine = PacedEngine(160.0 / series.loras**1.1, frames=3)
        every = [Voice(base.voices[i % 4]) for i in range(series.loras)]
        yield Stage(Speaker(engine, FreeCodec(), base), every)

    return stage


async def test_cells_are_of_what_the_engine_did(
    sheet: Sheet, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "LADDER", (1, 2))
    monkeypatch.setattr(fleet, "FEWEST_UTTERANCES", 2)
    await fleet.measure(sheet, [ONE, EIGHT], opened, lambda _: True)
    assert [(c.loras, c.streams, c.is_real_time) for c in sheet.cells] == [
        (1, 1, True),
        (1, 2, True),
        (8, 1, False),
    ]
    assert sheet.cells[0].rate_p50 == pytest.approx(160, rel=0.2)
    assert sheet.cells[0].first_audio_p50_ms == pytest.approx(7 / 0.16, rel=0.5)
    assert sheet.cells[2].underruns > 0
    assert json.loads(sheet.path.read_text(encoding="utf-8"))["cells"][2]["loras"] == 8


async def test_no_cell_is_begun_for_which_there_is_no_time(
    sheet: Sheet, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "FEWEST_UTTERANCES", 1)
    await fleet.measure(sheet, [ONE], opened, lambda seconds: seconds < fleet.START_SECONDS)
    assert sheet.cells == []
    await fleet.measure(sheet, [ONE, EIGHT], opened, lambda _: len(sheet.cells) < 1)
    assert [(c.loras, c.streams) for c in sheet.cells] == [(1, 1)]


def test_out_and_minutes_are_of_the_fleet_alone() -> None:
    done = run("bench", "ring", "--out", "here.json")
    assert done.code == 2
    assert "--out and --minutes are only of the bench fleet" in done.said


def test_an_adapter_of_random_weights_has_the_shapes_of_its_base(
    base: BaseModel, tmp_path: Path
) -> None:
    one, two = (voices.adapter(base, tmp_path / f"voice-{seed}", seed, rank=2) for seed in (1, 2))
    assert one.digest != two.digest
    assert voices.there(one.path) == one
    assert check(one.path / "adapter_model.safetensors", 2).hidden > 0


def test_a_base_of_any_shape_can_be_written_and_found(tmp_path: Path) -> None:
    from orpheus_clone.bench.random_base import ORPHEUS_3B, SNAC_24KHZ

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    codec = {"encoder_dim": 8, "decoder_dim": 16}
    write(tmp_path, ORPHEUS_3B | small | heads, SNAC_24KHZ | codec)
    made = locate(str(tmp_path))
    assert made.is_random
    assert made.codec_path == tmp_path / "codec"
