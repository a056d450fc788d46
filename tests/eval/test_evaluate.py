"""evaluate as a whole, with a voice that plays recordings: parts, killed and gone on, and quickly.

No judge listens here, but to the levels; test_broken.py asks the real ones.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orpheus_clone import layout, recipe
from orpheus_clone.audio import Waveform
from orpheus_clone.engine.base import Delta, EngineInfo, Precision, Request
from orpheus_clone.errors import ArtifactError, EngineDead
from orpheus_clone.eval import report
from orpheus_clone.eval.parts import OpenSpeaker
from orpheus_clone.eval.run import Order, evaluate
from orpheus_clone.judges import Judges, seated
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.recipe import Recipe
from orpheus_clone.speech import Speaker
from tests.conftest import VOICE
from tests.eval.tape import Tape, TapeEngine
from tests.eval.voices import HELD_OUT, PROMPTS, TEXTS, Studio, clip, settings, with_reference

NOBODY = Judges(None, None, None, ("nobody listens",))


@pytest.fixture
def trained(base: BaseModel) -> BaseModel:
    return replace(base, is_random=False, voices=base.voices[:1])


@pytest.fixture
def studio(run_dir: RunDir, trained: BaseModel, tmp_path: Path) -> Studio:
    run = with_reference(run_dir, tmp_path / "run")
    return Studio(run, trained, NOBODY, settings(tmp_path))


class Counting(TapeEngine):
    """Counts what it is asked for, and may die of it."""

    dies_at: int | None = None
    asked = 0

    async def generate(self, request: Request) -> AsyncGenerator[Delta, None]:
        self.asked += 1
        if self.asked == self.dies_at:
            raise EngineDead("gone")
        async with aclosing(super().generate(request)) as deltas:
            async for delta in deltas:
                yield delta


def opening(studio: Studio, *engines: Counting, tape: Tape) -> OpenSpeaker:
    """Opens speakers with one engine after the other."""
    left = list(engines)

    @asynccontextmanager
    async def opened(_: Precision | None) -> AsyncGenerator[Speaker, None]:
        yield Speaker(left.pop(0), tape, studio.base)

    return opened


def engines(studio: Studio, tape: Tape, *infos: EngineInfo) -> list[Counting]:
    said = {(VOICE, TEXTS[name]): tape.record(clip(name)) for name in HELD_OUT + PROMPTS}
    otherwise = tape.record(clip("004"))
    return [Counting(studio.base, said, otherwise, info) for info in infos]


def order(studio: Studio, settings: Recipe | None = None) -> Order:
    chosen = settings or studio.settings
    return Order(studio.run, chosen, studio.base, seated(NOBODY), "tape", "CPU (none)")


CPU = EngineInfo("tape", "CPU (none)", "fp32")
FP8 = EngineInfo("tape", "NVIDIA H200", "fp8")


async def test_killed_in_the_middle_it_goes_on_with_what_was_not_spoken(studio: Studio) -> None:
    tape = Tape()
    dying, fresh = engines(studio, tape, CPU, CPU)
    dying.dies_at = 1 + 4  # the warm-up comes first
    with pytest.raises(EngineDead):
        await evaluate(order(studio), opening(studio, dying, tape=tape))
    assert not studio.run.eval.exists()
    kept = sorted(path.name for path in (studio.run.unfinished_eval / "prompts").glob("*.json"))
    assert len(kept) >= 2
    before = {name: (studio.run.unfinished_eval / "prompts" / name).read_bytes() for name in kept}
    seen: list[tuple[str, int]] = []
    evaluation = await evaluate(
        order(studio),
        opening(studio, fresh, tape=tape),
        lambda part, done, _of: seen.append((part, done)),
    )
    assert seen[0] == ("prompts", len(kept)), "what was kept counts as done"
    assert [line.text for line in evaluation.lines] == [TEXTS[name] for name in PROMPTS]
    first = json.loads(before["001.json"])
    assert evaluation.lines[0].first_audio_ms == round(1000 * first["arrivals"][0]["seconds"], 1)
    assert not studio.run.unfinished_eval.exists(), "it is finished"


async def test_an_unfinished_evaluation_of_other_settings_is_forgotten(studio: Studio) -> None:
    tape = Tape()
    dying, fresh = engines(studio, tape, CPU, CPU)
    dying.dies_at = 5
    with pytest.raises(EngineDead):
        await evaluate(order(studio), opening(studio, dying, tape=tape))
    other = studio.settings.model_copy(
        update={"sampling": studio.settings.sampling.model_copy(update={"temperature": 0.5})}
    )
    seen: list[tuple[str, int]] = []
    await evaluate(
        order(studio, other),
        opening(studio, fresh, tape=tape),
        lambda part, done, _of: seen.append((part, done)),
    )
    assert seen[0] == ("prompts", 0)


async def test_what_was_judged_is_what_can_be_heard(studio: Studio) -> None:
    await studio.evaluate()
    clips = studio.run.eval / "clips"
    assert {path.name for path in clips.iterdir()} == {
        "prompts", "heldout", "real", "words", f"stock-{studio.base.voices[0]}",
    }  # fmt: skip
    assert len(list((clips / "prompts").iterdir())) == len(PROMPTS)
    assert len(list((clips / "real").iterdir())) == len(HELD_OUT)
    page = (studio.run.eval / "report.html").read_text(encoding="utf-8")
    for part, count in (("prompts", len(PROMPTS)), ("heldout", len(HELD_OUT)), ("words", 8)):
        assert f'src="clips/{part}/{count:03}.flac"' in page
    assert page.index("clips/real/001.flac") < page.index("clips/heldout/001.flac")


async def test_the_sweep_and_several_voices_are_measured(studio: Studio, tmp_path: Path) -> None:
    swept = settings(tmp_path, "eval.sweep=[1,2,3]", "eval.adapters=4")
    tape = Tape()
    [engine] = engines(studio, tape, CPU)
    evaluation = await evaluate(
        order(studio, swept),
        opening(studio, engine, tape=tape),
    )
    assert [point.concurrency for point in evaluation.points][:2] == [1, 2]
    assert evaluation.shared is not None
    assert (evaluation.shared.adapters, evaluation.shared.concurrency) == (2, 2), "a stream has one"
    names = {name.partition("@")[0] for name in engine.loaded}
    assert names == {VOICE, f"{VOICE}-copy1"}


async def test_fp8_is_compared_with_bf16_on_the_same_prompts(
    studio: Studio, tmp_path: Path
) -> None:
    tape = Tape()
    fast, exact = engines(studio, tape, FP8, replace(FP8, precision="bf16"))
    asked = settings(tmp_path, "eval.precision_prompts=4")
    evaluation = await evaluate(
        order(studio, asked),
        opening(studio, fast, exact, tape=tape),
    )
    rows = {row.name: row for row in evaluation.bf16}
    assert rows["stop rate"].pairs == 4
    assert (rows["tail silence P50"].result, rows["tail silence P50"].difference) == ("unclear", 0)
    assert evaluation.precision == "fp8"
    assert not any("FP8 is not compared" in note for note in evaluation.notes)
    gates = {gate.name: gate.status for gate in evaluation.gates}
    assert gates["stream rate P5"] == "passed", "on a GPU the target is met"


async def test_on_a_cpu_fp8_is_not_measurable_and_says_so(studio: Studio) -> None:
    evaluation = await studio.evaluate()
    assert evaluation.bf16 == []
    assert "FP8 is not compared with bf16: the engine speaks in fp32" in evaluation.notes
    assert "emotion tags are not measured: the base knows none" in evaluation.notes
    assert "nobody listens" in evaluation.notes


async def test_a_missing_judge_leaves_its_gates_unmeasured_and_nothing_proven(
    studio: Studio,
) -> None:
    evaluation = await studio.evaluate()
    why = {gate.name: gate.why for gate in evaluation.gates if gate.status == "not measurable"}
    assert why["word error rate"] == "no judge of words is here (judges.asr)"
    assert why["similarity"] == "no judge of voices is here (judges.speaker)"
    assert why["similarity over stock"] == "no judge of voices is here (judges.speaker)"
    assert why["sound quality"] == "DNSMOS is not here (judges.mos)"
    assert evaluation.verdict == "unproven"


async def test_a_voice_that_loops_fails_where_loops_are_named(studio: Studio) -> None:
    tape = Tape()
    again = tape.record(clip("004"))[: 7 * 8]
    looping = Counting(
        studio.base, {(VOICE, TEXTS[name]): again * 12 for name in PROMPTS}, again, CPU
    )
    evaluation = await evaluate(
        order(studio),
        opening(studio, looping, tape=tape),
    )
    failed = {gate.name for gate in evaluation.gates if gate.status == "failed"}
    assert {"loops", "stop rate"} <= failed
    assert {line.finish for line in evaluation.lines} == {"loop"}


async def test_a_mute_voice_fails_rather_than_being_unmeasurable(studio: Studio) -> None:
    evaluation = await studio.evaluate(lambda samples: np.zeros_like(samples))
    gates = {gate.name: gate for gate in evaluation.gates}
    assert gates["head silence P50"].status == "failed"
    assert gates["head silence P50"].value is None
    assert gates["slow pace"].status == gates["fast pace"].status == "failed"
    page = (studio.run.eval / "report.html").read_text(encoding="utf-8")
    assert "measured never, wanted" in page


async def test_of_a_random_base_only_speed_is_spoken(studio: Studio, base: BaseModel) -> None:
    evaluation = await replace(studio, base=base).evaluate()
    assert {path.name for path in (studio.run.eval / "clips").iterdir()} == {"prompts"}
    statuses = {gate.name: gate.status for gate in evaluation.gates}
    assert set(statuses.values()) == {"not measurable"}
    assert evaluation.real.similarity is None
    assert evaluation.heldout == []


class Mute:
    """A judge of sound to whom all is alike."""

    digest = "mute"

    def __call__(self, samples: Waveform) -> float:
        return 3.0


def test_the_key_is_of_everything_that_an_evaluation_is_about(studio: Studio) -> None:
    def key(*overrides: str) -> str:
        return order(studio, recipe.load(None, overrides)).key

    plain = order(studio, recipe.load(None))
    first = key()
    others = [
        key("eval.prompts=19"),
        key("eval.gates.stop_rate_min=0.9"),
        key("sampling.temperature=0.5"),
        replace(plain, engine="vllm").key,
        replace(plain, hardware="NVIDIA H200").key,
        replace(plain, judges=seated(replace(NOBODY, mos=Mute()))).key,
        replace(plain, base=replace(studio.base, digest="0")).key,
        replace(plain, others=(studio.run,)).key,
    ]
    layout.write_stamp(studio.run.stamp_file, replace(studio.run.stamp(), adapter_digest="0" * 64))
    others.append(key())
    assert len({first, *others}) == len(others) + 1
    assert key("train.epochs=7") == key(), "of training it never looks at the settings"


async def test_judges_are_opened_when_no_engine_has_the_gpu_any_more(studio: Studio) -> None:
    happened: list[str] = []
    opened = studio.opening(lambda samples: samples)

    @asynccontextmanager
    async def noted(precision: Precision | None) -> AsyncGenerator[Speaker, None]:
        happened.append("speaks")
        async with opened(precision) as speaker:
            yield speaker
        happened.append("is closed")

    def assemble() -> Judges:
        happened.append("judges")
        return NOBODY

    jury = replace(seated(NOBODY), assemble=assemble)
    await evaluate(replace(order(studio), judges=jury), noted)
    assert happened == ["speaks", "is closed", "judges"]


async def test_the_report_is_of_its_key(studio: Studio) -> None:
    evaluation = await studio.evaluate()
    assert report.read_key(studio.run) == evaluation.key == order(studio).key
    assert report.read(studio.run) == evaluation


async def test_a_voice_of_another_base_is_refused_by_name(studio: Studio, tmp_path: Path) -> None:
    stamp = replace(studio.run.stamp(), base_digest="0" * 64)
    other = with_reference(studio.run, tmp_path / "other")
    layout.write_stamp(other.stamp_file, stamp)
    for wrong in (replace(order(studio), run=other), replace(order(studio), others=(other,))):
        with pytest.raises(ArtifactError, match="other was trained on nano 000000000000"):
            await evaluate(wrong, opening(studio, tape=Tape()))
