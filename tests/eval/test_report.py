"""evaluate as a whole, with a scripted engine: what lies in eval/ afterwards."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile

from orpheus_clone import layout, recipe
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import EngineInfo
from orpheus_clone.eval import report
from orpheus_clone.eval.report import Evaluation
from orpheus_clone.eval.run import evaluate, evaluation_key
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.speech import Speaker
from tests.eval.steady import SteadyEngine

SETTINGS = recipe.load(
    None,
    [
        "eval.prompts=3",
        "eval.concurrency=2",
        "eval.speed_target=cpu",
        "eval.gates.stream_rate_min=1e12",
    ],
)
"""On a CPU the rate fails; on nano the rest cannot be measured."""


@pytest.fixture
def run(run_dir: RunDir, tmp_path: Path) -> RunDir:
    return RunDir(Path(shutil.copytree(run_dir.root, tmp_path / "run")))


@pytest.fixture
async def evaluation(run: RunDir, codec: Codec, base: BaseModel) -> Evaluation:
    return await evaluate(run, Speaker(SteadyEngine(), codec, base), SETTINGS)


def strict(path: Path) -> dict[str, Any]:
    """A file's JSON; NaN and Infinity, which only Python reads, are refused."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{path} holds {constant}")

    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    return data


def test_the_report_is_strict_json_and_says_what_was_measured_where(
    run: RunDir, evaluation: Evaluation
) -> None:
    data = strict(run.report)
    assert data["key"] == evaluation.key == report.read_key(run)
    assert data["verdict"] == "failed"
    assert (data["engine"], data["hardware"]) == ("fake", "CPU (none)")
    assert (data["precision"], data["concurrency"]) == ("fp32", 2)
    assert data["is_random_base"] is True
    assert data["adapter_digest"] == run.stamp().adapter_digest
    assert [gate["status"] for gate in data["gates"]] == ["failed", *3 * ["not measurable"]]
    assert data["summary"]["utterances"] == len(data["lines"]) == 3
    assert {"stream_rate_p50", "first_audio_p50_ms", "first_audio_p95_ms"} <= set(data["summary"])
    assert {"head_silence_p50_ms", "head_silence_p95_ms", "stop_rate"} <= set(data["summary"])


def test_the_clips_are_playable_and_whole(run: RunDir, evaluation: Evaluation) -> None:
    page = (run.eval / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r'<audio[^>]* src="([^"]+)"', page)
    assert len(sources) == len(evaluation.lines)
    for source, line in zip(sources, evaluation.lines, strict=True):
        sound, rate = soundfile.read(run.eval / source)
        assert rate == 24_000
        assert len(sound) == line.tokens // 7 * 2048


def test_the_page_names_every_gate_and_the_failed_one_first(
    run: RunDir, evaluation: Evaluation
) -> None:
    page = (run.eval / "report.html").read_text(encoding="utf-8")
    assert all(f"<td>{gate.name}</td>" in page for gate in evaluation.gates)
    shown = re.findall(r'<td class="(failed|not measurable|passed)">', page)
    assert shown == ["failed", *3 * ["not measurable"]]
    assert evaluation.measured_on in page
    assert "random stand-in" in page
    assert "data:image/png;base64,iVBOR" in page


async def test_a_failed_gate_comes_before_one_that_passed(
    run: RunDir, codec: Codec, base: BaseModel
) -> None:
    wanted = ["eval.prompts=1", "eval.gates.stream_rate_min=0.0", "eval.gates.stop_rate_min=1.5"]
    settings = recipe.load(None, [*wanted, "eval.speed_target=cpu"])
    trained = replace(base, is_random=False)
    judged = await evaluate(run, Speaker(SteadyEngine(), codec, trained), settings)
    assert (judged.gates[0].status, judged.gates[-1].status) == ("passed", "failed")
    page = (run.eval / "report.html").read_text(encoding="utf-8")
    assert page.index("<td>stop rate</td>") < page.index("<td>stream rate</td>")
    assert "random stand-in" not in page


def test_a_missing_consent_is_said(run: RunDir, evaluation: Evaluation) -> None:
    assert evaluation.consent is None
    page = (run.eval / "report.html").read_text(encoding="utf-8")
    assert "no consent recorded" in page.lower()


async def test_a_consent_is_shown_by_its_digest(run: RunDir, codec: Codec, base: BaseModel) -> None:
    stamp = replace(run.stamp(), consent={"sha256": "ab" * 32, "record": "I agree."})
    layout.write_stamp(run.stamp_file, stamp)
    await evaluate(run, Speaker(SteadyEngine(), codec, base), SETTINGS)
    page = (run.eval / "report.html").read_text(encoding="utf-8")
    assert "consent recorded (sha256 abababababab)" in page.lower()


async def test_a_second_evaluation_replaces_the_first_whole(
    run: RunDir, evaluation: Evaluation, codec: Codec, base: BaseModel
) -> None:
    settings = recipe.load(None, ["eval.prompts=1"])
    await evaluate(run, Speaker(SteadyEngine(), codec, base), settings)
    assert len(list((run.eval / "clips").iterdir())) == 1
    assert strict(run.report)["key"] != evaluation.key
    assert not [path for path in run.root.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("content", [None, "", "[]", '{"key": '])
def test_a_report_that_cannot_be_read_has_no_key(run: RunDir, content: str | None) -> None:
    if content is not None:
        layout.write_text(run.report, content)
    assert report.read_key(run) is None


def test_the_key_is_of_the_adapter_the_settings_and_the_hardware(
    run: RunDir, base: BaseModel
) -> None:
    def key(*overrides: str, engine: str = "hf", hardware: str = "CPU") -> str:
        return evaluation_key(run, recipe.load(None, overrides), base, engine, hardware)

    first = key()
    others = [
        key("eval.prompts=19"),
        key("eval.gates.stop_rate_min=0.9"),
        key("sampling.temperature=0.5"),
        key(engine="vllm"),
        key(hardware="NVIDIA H200"),
        evaluation_key(run, recipe.load(None), replace(base, digest="0"), "hf", "CPU"),
    ]
    layout.write_stamp(run.stamp_file, replace(run.stamp(), adapter_digest="0" * 64))
    others.append(key())
    assert len({first, *others}) == len(others) + 1


def test_the_key_does_not_change_with_what_eval_never_looks_at(
    run: RunDir, base: BaseModel
) -> None:
    plain, other = recipe.load(None), recipe.load(None, ["train.epochs=7"])
    assert evaluation_key(run, plain, base, "hf", "CPU") == evaluation_key(
        run, other, base, "hf", "CPU"
    )


async def test_a_gpu_figure_is_bound_to_that_gpu(
    run: RunDir, codec: Codec, base: BaseModel
) -> None:
    engine = SteadyEngine(EngineInfo("vllm", "NVIDIA H200", "fp8"))
    settings = recipe.load(None, ["eval.prompts=1"])
    judged = await evaluate(run, Speaker(engine, codec, base), settings)
    assert judged.measured_on == "NVIDIA H200, vllm engine, fp8, 10 streams at a time"
    assert judged.gates[0].status != "not measurable"
