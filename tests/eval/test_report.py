"""What lies in eval/ afterwards: strict JSON, a page that reads from the top, and comparisons."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from orpheus_clone import disk, layout
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import EngineInfo
from orpheus_clone.errors import ArtifactError
from orpheus_clone.eval import plots, report
from orpheus_clone.eval.compare import Comparison, compare
from orpheus_clone.eval.gates import RULES
from orpheus_clone.eval.report import Evaluation
from orpheus_clone.eval.special import OneWord, Tag
from orpheus_clone.eval.summary import Stock
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from tests.eval.test_evaluate import NOBODY
from tests.eval.voices import PROMPTS, Studio, settings, with_reference

GATES = len(RULES) + 1
"""The last is how many utterances there are."""


@pytest.fixture
def run(run_dir: RunDir, tmp_path: Path) -> RunDir:
    return with_reference(run_dir, tmp_path / "run")


@pytest.fixture
def studio(run: RunDir, base: BaseModel, tmp_path: Path) -> Studio:
    """On a CPU whose rate fails, of a base that is random: the rest cannot be measured."""
    failing = ("eval.speed_target=cpu", "eval.gates.stream_rate_min=1e12")
    return Studio(run, base, NOBODY, settings(tmp_path, *failing))


@pytest.fixture
async def evaluation(studio: Studio) -> Evaluation:
    return await studio.evaluate()


def strict(path: Path) -> dict[str, Any]:
    """A file's JSON; NaN and Infinity, which only Python reads, are refused."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{path} holds {constant}")

    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    return data


def page_of(run: RunDir) -> str:
    return (run.eval / "report.html").read_text(encoding="utf-8")


def test_the_report_is_strict_json_and_says_what_was_measured_where(
    run: RunDir, evaluation: Evaluation
) -> None:
    data = strict(run.report)
    assert data["key"] == evaluation.key == report.read_key(run)
    assert data["verdict"] == "failed"
    assert (data["engine"], data["hardware"]) == ("tape", "CPU (none)")
    assert (data["precision"], data["concurrency"]) == ("fp32", 2)
    assert data["measured_on"] == "CPU (none), tape engine, fp32, 2 streams at a time"
    assert data["is_random_base"] is True
    assert data["adapter_digest"] == run.stamp().adapter_digest
    assert data["settings_digest"]
    statuses = [gate["status"] for gate in data["gates"]]
    assert statuses == ["failed", *(GATES - 1) * ["not measurable"]]
    assert data["summary"]["utterances"] == len(data["lines"]) == len(PROMPTS)
    assert {"stream_rate_p50", "first_audio_p50_ms", "first_audio_p99_ms"} <= set(data["summary"])
    assert {"head_silence_p95_ms", "tail_silence_p95_ms", "wer", "mos"} <= set(data["summary"])


def test_the_clips_are_playable_and_whole(run: RunDir, evaluation: Evaluation) -> None:
    sources = re.findall(r'<audio[^>]* src="([^"]+)"', page_of(run))
    assert len(sources) == len(evaluation.lines)
    for source, line in zip(sources, evaluation.lines, strict=True):
        sound, rate = soundfile.read(run.eval / source)
        assert rate == 24_000
        assert round(len(sound) / rate, 3) == line.seconds


def test_the_page_begins_with_what_failed_and_says_what_to_do(
    run: RunDir, evaluation: Evaluation
) -> None:
    page = page_of(run)
    shown = re.findall(r'<td class="(failed|not measurable|passed)">(?:failed|not|passed)', page)
    assert shown == ["failed", *(GATES - 1) * ["not measurable"]]
    assert f"1 of {GATES} gates failed: stream rate P5." in page
    assert page.index(evaluation.gates[0].advice) < page.index('scope="row"')
    assert all(f'<th scope="row">{gate.name}</th>' in page for gate in evaluation.gates)
    assert evaluation.measured_on in page
    assert "random stand-in" in page


def test_the_page_needs_nothing_from_elsewhere_and_no_mouse(
    run: RunDir, evaluation: Evaluation
) -> None:
    page = page_of(run)
    assert "http" not in re.sub(r"https://huggingface.co\S*", "", page)
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page
    assert ":focus-visible" in page
    assert all("aria-label" in audio for audio in re.findall(r"<audio[^>]*>", page))
    assert all("aria-label" in picture for picture in re.findall(r"<svg[^>]*>", page))


class _Balanced(HTMLParser):
    """Counts the elements that are open."""

    VOID = frozenset(["meta", "rect", "circle", "line", "polyline", "br"])

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None: ...

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def everything(evaluation: Evaluation) -> Evaluation:
    """With every part of the page that an evaluation may have."""
    rows = compare(evaluation.lines, evaluation.lines)
    other = Comparison("runs/other", "other<b>", "H100", ["speed is of two machines"], rows)
    heldout = [replace(evaluation.lines[0], text="<i>me</i>", heard="no & yes", word_edits=1)]
    return replace(
        evaluation,
        is_random_base=False,
        heldout=heldout,
        stock=[Stock("ada", 0.1), Stock("ben", 0.3)],
        tags=[Tag("laugh", 3, 2, 0.4)],
        words=[OneWord("Yes.", "said", "yes"), OneWord("No.", "noise", None)],
        shared=replace(evaluation.points[0], adapters=4),
        real_time_streams=8,
        price_per_hour=2.0,
        cost_per_hour_of_audio=0.25,
        network_ms=12.5,
        bf16=rows,
        against=other,
    )


def test_every_part_of_the_page_is_whole_and_escaped(evaluation: Evaluation) -> None:
    page = report.html(everything(evaluation))
    parser = _Balanced()
    parser.feed(page)
    assert parser.open == []
    assert "&lt;i&gt;me" in page
    assert "<i>" not in page
    assert "Against other&lt;b&gt;" in page
    assert "measured on H100; speed is of two machines." in page
    assert "An hour of audio costs 0.25 USD, at 2 USD an hour" in page
    assert "8 streams at a time are in real time" in page
    assert "12.5 ms for a round trip" in page
    assert "FP8 against bf16" in page
    assert page.index(">ben<") < page.index(">ada<"), "the nearest stock voice first"
    assert "2 of 3" in page
    assert "noise: no word" in page


async def test_the_page_says_which_limit_was_loosened(
    run: RunDir, base: BaseModel, tmp_path: Path
) -> None:
    asked = settings(tmp_path, "eval.gates.tail_silence_p50_ms=700.0")
    await Studio(run, replace(base, is_random=False), NOBODY, asked).evaluate()
    assert "the recipe asks for less than the default, 300" in page_of(run)


async def test_a_failed_gate_comes_before_one_that_passed(
    run: RunDir, codec: Codec, base: BaseModel, tmp_path: Path
) -> None:
    wanted = ("eval.gates.stream_rate_min=0.0", "eval.gates.stop_rate_min=1.5")
    asked = settings(tmp_path, *wanted, "eval.speed_target=cpu")
    trained = replace(base, is_random=False)
    judged = await Studio(run, trained, NOBODY, asked).evaluate()
    assert (judged.gates[0].name, judged.gates[0].status) == ("stream rate P5", "passed")
    page = page_of(run)
    assert page.index('"row">stop rate</th>') < page.index('"row">stream rate P5</th>')
    assert "random stand-in" not in page


def test_a_missing_consent_is_said(run: RunDir, evaluation: Evaluation) -> None:
    assert evaluation.consent is None
    assert "no consent recorded" in page_of(run).lower()


async def test_a_consent_is_shown_by_its_digest(studio: Studio) -> None:
    stamp = replace(studio.run.stamp(), consent={"sha256": "ab" * 32, "record": "I agree."})
    layout.write_stamp(studio.run.stamp_file, stamp)
    await studio.evaluate()
    assert "consent recorded (sha256 abababababab)" in page_of(studio.run).lower()


async def test_a_second_evaluation_replaces_the_first_whole(
    studio: Studio, evaluation: Evaluation, tmp_path: Path
) -> None:
    fewer = settings(tmp_path, "eval.prompts=1")
    await replace(studio, settings=fewer).evaluate()
    assert len(list((studio.run.eval / "clips" / "prompts").iterdir())) == 1
    assert strict(studio.run.report)["key"] != evaluation.key
    assert not [path for path in studio.run.root.iterdir() if path.name.startswith(".")]


async def test_a_run_is_compared_with_another_in_its_report(
    studio: Studio, evaluation: Evaluation, tmp_path: Path
) -> None:
    other = with_reference(studio.run, tmp_path / "other")
    comparison = report.compare_with(studio.run, other)
    assert (comparison.other, comparison.notes) == (str(other.root), [])
    assert strict(studio.run.report)["against"]["rows"][0]["pairs"] == len(PROMPTS)
    assert f"the other is {other.root}" in page_of(studio.run)
    assert report.read(studio.run).lines == evaluation.lines


def test_a_comparison_says_where_other_judges_listened_and_on_what(
    studio: Studio, evaluation: Evaluation, tmp_path: Path
) -> None:
    other = with_reference(studio.run, tmp_path / "other")
    theirs = strict(other.report) | {"measured_on": "H100"}
    theirs["judges"] |= {"asr": "whisper", "mos": "dnsmos"}
    disk.write_json(other.report, theirs)
    notes = report.compare_with(studio.run, other).notes
    assert notes == [
        "speed is of two machines",
        "other judges listened (judges.asr, judges.mos)",
    ]
    assert all(note in page_of(studio.run) for note in notes)


def test_a_run_that_was_not_evaluated_is_not_compared_with(
    run: RunDir, evaluation: Evaluation, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match="run: orpheus-clone eval"):
        report.compare_with(run, RunDir(tmp_path / "nothing"))
    changed = strict(run.report)
    del changed["points"]
    disk.write_json(run.report, changed)
    with pytest.raises(ArtifactError, match=r"another version \(points: .* orpheus-clone eval"):
        report.read(run)
    assert report.read_key(run) is None, "so that eval speaks anew, as the message says"


@pytest.mark.parametrize("content", [None, "", "[]", '{"key": '])
def test_a_report_that_cannot_be_read_has_no_key(run: RunDir, content: str | None) -> None:
    if content is not None:
        disk.write_text(run.report, content)
    assert report.read_key(run) is None


def test_a_figure_is_bound_to_its_machine() -> None:
    info = EngineInfo("vllm", "NVIDIA H200", "fp8")
    assert report.measured_on(info, 10) == "NVIDIA H200, vllm engine, fp8, 10 streams at a time"


@pytest.fixture
def values() -> Iterator[list[float]]:
    yield [float(value) for value in np.linspace(0, 100, 101)]


def test_a_histogram_says_its_numbers_and_has_as_many_bars_as_there_are_values(
    values: list[float],
) -> None:
    picture = plots.histogram(values, "head silence", "ms", 150.0)
    assert "head silence: median 50 ms, 5 % below 5, 5 % above 95" in picture
    assert picture.count('class="bar"') == 11  # the limit at 150 widens the sixteen bins
    assert picture.count('class="limit"') == 1
    assert plots.histogram([], "none", "ms") == ""
    assert plots.histogram([3.0], "one", "ms").count('class="bar"') == 1


def test_a_curve_goes_through_its_points() -> None:
    picture = plots.curve([(1.0, 100.0), (2.0, 80.0), (4.0, 60.0)], "rate P5", "tok/s", 82.0)
    assert picture.count('class="dot"') == 3
    assert "rate P5: 100 tok/s at 1, 80 tok/s at 2, 60 tok/s at 4" in picture
    assert plots.curve([(1.0, 100.0)], "one", "tok/s") == ""
