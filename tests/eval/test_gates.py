"""Gates by hand: each status, one step past each limit, and what a verdict makes of them."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace

import pytest

from orpheus_clone.engine.base import EngineInfo
from orpheus_clone.eval.bootstrap import Interval, wilson
from orpheus_clone.eval.gates import RULES, Gate, Measured, Rule, Status, judge, verdict
from orpheus_clone.listening.figures import Figure
from orpheus_clone.recipe import Eval, Gates

GPU = EngineInfo("vllm", "NVIDIA H200", "fp8")
CPU = EngineInfo("hf", "CPU (some, 2 threads)", "fp32")
LIMITS = {rule.name: getattr(Gates(), rule.limit) for rule in RULES}
AT_THE_LIMITS = {name: Measured(Figure(limit)) for name, limit in LIMITS.items()}
SPEED = {"stream rate P5", "first speech P50"}


def statuses(gates: list[Gate]) -> dict[str, Status]:
    return {gate.name: gate.status for gate in gates}


def with_figure(name: str, figure: Figure) -> Mapping[str, Measured]:
    return AT_THE_LIMITS | {name: Measured(figure)}


def gate(status: Status) -> Gate:
    one = judge(Eval(), AT_THE_LIMITS, GPU)[0]
    return replace(one, status=status)


def test_every_gate_of_the_recipe_is_judged_once() -> None:
    assert sorted(rule.limit for rule in RULES) == sorted(Gates.model_fields)


def test_a_voice_exactly_at_the_limits_passes_every_gate() -> None:
    gates = judge(Eval(), AT_THE_LIMITS, GPU)
    assert set(statuses(gates).values()) == {"passed"}
    assert verdict(gates) == "proven"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_step_past_one_limit_fails_that_gate_alone(rule: Rule) -> None:
    name = rule.name
    step = -1e-3 if rule.is_minimum else 1e-3
    gates = judge(Eval(), with_figure(name, Figure(LIMITS[name] + step)), GPU)
    assert [found for found, status in statuses(gates).items() if status == "failed"] == [name]
    assert verdict(gates) == "failed"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_limit_that_asks_for_less_than_the_default_is_said(rule: Rule) -> None:
    step = -1e-3 if rule.is_minimum else 1e-3
    for change, is_said in ((step, True), (0.0, False), (-step, False)):
        limit = LIMITS[rule.name] + change
        gates = judge(Eval(gates=Gates(**{rule.limit: limit})), AT_THE_LIMITS, GPU)
        whys = {gate.name for gate in gates if gate.why}
        assert whys == ({rule.name} if is_said else set())
    why = next(
        gate.why for gate in judge(Eval(gates=Gates(wer_max=0.5)), AT_THE_LIMITS, GPU) if gate.why
    )
    assert why == "the recipe asks for less than the default, 0.1"


@pytest.mark.parametrize(("prompts", "expected"), [(74, "unproven"), (75, "proven")])
def test_few_utterances_prove_nothing(prompts: int, expected: str) -> None:
    gates = judge(Eval(prompts=prompts), AT_THE_LIMITS, GPU)
    assert verdict(gates) == expected
    assert gates[-1].why == ("what so few of them do proves nothing" if prompts < 75 else None)
    low = wilson(prompts, prompts).low
    assert (low >= 0.95) == (prompts >= 73), "why it is 75"


def test_a_gate_says_what_it_means_and_what_to_do() -> None:
    for judged in judge(Eval(), AT_THE_LIMITS, GPU):
        assert judged.means.endswith(".")
        assert judged.advice.endswith(".")


def test_on_a_cpu_the_speed_gates_of_a_gpu_are_not_measurable() -> None:
    gates = judge(Eval(), AT_THE_LIMITS, CPU)
    for judged in gates:
        assert judged.status == ("not measurable" if judged.name in SPEED else "passed")
    why = next(gate.why for gate in gates if gate.name == "stream rate P5")
    assert why == "the target is a GPU, this was CPU (some, 2 threads)"
    assert verdict(gates) == "unproven"


def test_a_figure_far_beyond_the_limit_does_not_fail_on_the_wrong_hardware() -> None:
    slow = with_figure("stream rate P5", Figure(0.1))
    assert statuses(judge(Eval(), slow, CPU))["stream rate P5"] == "not measurable"


def test_a_cpu_is_judged_where_the_recipe_targets_one_and_a_gpu_is_not() -> None:
    settings = Eval(speed_target="cpu")
    assert verdict(judge(settings, AT_THE_LIMITS, CPU)) == "proven"
    assert statuses(judge(settings, AT_THE_LIMITS, GPU))["stream rate P5"] == "not measurable"


def test_what_cannot_be_measured_says_why_and_is_never_passed() -> None:
    unknown = Measured(Figure(None, "the base model is random"))
    gates = judge(Eval(), dict.fromkeys(LIMITS, unknown), GPU)
    assert {gate.status for gate in gates[:-1]} == {"not measurable"}
    assert {gate.why for gate in gates[:-1]} == {"the base model is random"}
    assert verdict(gates) == "unproven"


@pytest.mark.parametrize("name", ["head silence P50", "slow pace", "fast pace"])
def test_never_fails_a_gate_whichever_way_it_is_limited(name: str) -> None:
    mute = Figure(math.inf, "only 0 of 20 utterances hold speech")
    gates = judge(Eval(), with_figure(name, mute), GPU)
    judged = next(gate for gate in gates if gate.name == name)
    assert (judged.status, judged.value) == ("failed", None)
    assert judged.why == "only 0 of 20 utterances hold speech"


def test_never_is_null_in_json_and_not_infinity() -> None:
    never = Measured(Figure(math.inf, "mute"), Interval(80.0, math.inf))
    rows = [asdict(g) for g in judge(Eval(), AT_THE_LIMITS | {"head silence P50": never}, GPU)]
    row = next(row for row in json.loads(json.dumps(rows, allow_nan=False)) if row["why"])
    assert (row["value"], row["low"], row["high"]) == (None, 80.0, None)


def test_the_figure_is_judged_and_its_interval_is_shown() -> None:
    wide = Measured(Figure(0.09), Interval(0.05, 0.14))
    judged = {g.name: g for g in judge(Eval(), AT_THE_LIMITS | {"word error rate": wide}, GPU)}[
        "word error rate"
    ]
    assert (judged.status, judged.low, judged.high) == ("passed", 0.05, 0.14)


def test_a_gate_that_is_switched_off_is_not_measurable_so_nothing_is_proven() -> None:
    settings = Eval(gates=Gates(stream_rate_min=None))
    gates = judge(settings, AT_THE_LIMITS, GPU)
    off = gates[0]
    assert (off.name, off.status, off.why) == ("stream rate P5", "not measurable", "switched off")
    assert off.bound == "—"
    assert {gate.status for gate in gates[1:]} == {"passed"}
    assert verdict(gates) == "unproven"


def test_a_limit_of_zero_is_not_off() -> None:
    settings = Eval(gates=Gates(head_silence_p50_ms=0.0))
    assert statuses(judge(settings, AT_THE_LIMITS, GPU))["head silence P50"] == "failed"


def test_a_gate_says_its_limit_in_words() -> None:
    bounds = {gate.name: gate.bound for gate in judge(Eval(), AT_THE_LIMITS, GPU)}
    assert bounds["stream rate P5"] == ">= 90 tok/s"
    assert bounds["first speech P50"] == "<= 500 ms"
    assert bounds["stop rate"] == ">= 0.95"


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        ([], "unproven"),
        (["passed", "passed"], "proven"),
        (["passed", "not measurable"], "unproven"),
        (["not measurable"], "unproven"),
        (["passed", "failed"], "failed"),
        (["not measurable", "failed"], "failed"),
    ],
    ids=lambda value: "-".join(value) or "no gates" if isinstance(value, list) else "",
)
def test_one_failure_fails_and_only_all_passes_prove(gates: list[Status], expected: str) -> None:
    assert verdict([gate(status) for status in gates]) == expected
