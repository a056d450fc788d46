"""Gates by hand: each status, one step past each limit, and what a verdict makes of them."""

import json
import math
from dataclasses import asdict, replace

import pytest

from orpheus_clone.engine.base import EngineInfo
from orpheus_clone.eval.gates import Figure, Gate, Measured, Status, judge, verdict
from orpheus_clone.recipe import Eval, Gates

GPU = EngineInfo("vllm", "NVIDIA H200", "fp8")
CPU = EngineInfo("hf", "CPU (some, 2 threads)", "fp32")
AT_THE_LIMITS = Measured(Figure(90.0), Figure(500.0), Figure(100.0), Figure(0.95))
SPEED = {"stream rate", "first speech P50"}


def statuses(gates: list[Gate]) -> dict[str, Status]:
    return {gate.name: gate.status for gate in gates}


def gate(status: Status) -> Gate:
    return Gate("stop rate", 0.95, True, "", 1.0, status, None)


def test_a_voice_exactly_at_the_limits_passes_every_gate() -> None:
    gates = judge(Eval(), AT_THE_LIMITS, GPU)
    assert [gate.name for gate in gates] == [
        "stream rate",
        "first speech P50",
        "head silence P50",
        "stop rate",
    ]
    assert set(statuses(gates).values()) == {"passed"}
    assert verdict(gates) == "proven"


@pytest.mark.parametrize(
    ("measured", "failing"),
    [
        (replace(AT_THE_LIMITS, stream_rate=Figure(89.99)), "stream rate"),
        (replace(AT_THE_LIMITS, first_speech_p50_ms=Figure(500.01)), "first speech P50"),
        (replace(AT_THE_LIMITS, head_silence_p50_ms=Figure(100.01)), "head silence P50"),
        (replace(AT_THE_LIMITS, stop_rate=Figure(0.9499)), "stop rate"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_step_past_one_limit_fails_that_gate_alone(measured: Measured, failing: str) -> None:
    gates = judge(Eval(), measured, GPU)
    assert [name for name, status in statuses(gates).items() if status == "failed"] == [failing]
    assert verdict(gates) == "failed"


def test_on_a_cpu_the_speed_gates_of_a_gpu_are_not_measurable() -> None:
    gates = judge(Eval(), AT_THE_LIMITS, CPU)
    for judged in gates:
        assert judged.status == ("not measurable" if judged.name in SPEED else "passed")
    why = next(gate.why for gate in gates if gate.name == "stream rate")
    assert why == "the target is a GPU, this was CPU (some, 2 threads)"
    assert verdict(gates) == "unproven"


def test_a_figure_far_beyond_the_limit_does_not_fail_on_the_wrong_hardware() -> None:
    slow = replace(AT_THE_LIMITS, stream_rate=Figure(0.1))
    assert statuses(judge(Eval(), slow, CPU))["stream rate"] == "not measurable"


def test_a_cpu_is_judged_where_the_recipe_targets_one_and_a_gpu_is_not() -> None:
    settings = Eval(speed_target="cpu")
    assert verdict(judge(settings, AT_THE_LIMITS, CPU)) == "proven"
    assert statuses(judge(settings, AT_THE_LIMITS, GPU))["stream rate"] == "not measurable"


def test_what_a_random_base_cannot_show_is_not_measurable_and_says_why() -> None:
    unknown = Figure(None, "the base model is random")
    gates = judge(Eval(), Measured(Figure(95.0), unknown, unknown, unknown), GPU)
    assert list(statuses(gates).values()) == ["passed", *3 * ["not measurable"]]
    assert {gate.why for gate in gates[1:]} == {"the base model is random"}
    assert verdict(gates) == "unproven"


def test_a_mute_voice_fails_rather_than_being_unmeasurable() -> None:
    mute = Figure(math.inf, "only 0 of 20 utterances hold speech")
    gates = judge(
        Eval(), replace(AT_THE_LIMITS, first_speech_p50_ms=mute, head_silence_p50_ms=mute), GPU
    )
    assert statuses(gates)["head silence P50"] == statuses(gates)["first speech P50"] == "failed"
    assert gates[2].why == "only 0 of 20 utterances hold speech"
    assert verdict(gates) == "failed"


def test_never_is_null_in_json_and_not_infinity() -> None:
    mute = replace(AT_THE_LIMITS, head_silence_p50_ms=Figure(math.inf, "mute"))
    rows = [asdict(gate) for gate in judge(Eval(), mute, GPU)]
    assert json.loads(json.dumps(rows, allow_nan=False))[2]["value"] is None


def test_a_gate_that_is_switched_off_is_not_measurable_so_nothing_is_proven() -> None:
    settings = Eval(gates=Gates(stream_rate_min=None, stop_rate_min=None))
    gates = judge(settings, AT_THE_LIMITS, GPU)
    assert statuses(gates) == {
        "stream rate": "not measurable",
        "first speech P50": "passed",
        "head silence P50": "passed",
        "stop rate": "not measurable",
    }
    assert gates[0].why == "switched off"
    assert gates[0].bound == "—"
    assert verdict(gates) == "unproven"


def test_a_limit_of_zero_is_not_off() -> None:
    settings = Eval(gates=Gates(head_silence_p50_ms=0.0))
    assert statuses(judge(settings, AT_THE_LIMITS, GPU))["head silence P50"] == "failed"


def test_a_gate_says_its_limit_in_words() -> None:
    bounds = [gate.bound for gate in judge(Eval(), AT_THE_LIMITS, GPU)]
    assert bounds == [">= 90 tok/s", "<= 500 ms", "<= 100 ms", ">= 0.95"]


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
