"""What a node lists: stock voices, clones, and what was proved of them."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from orpheus_clone.engine.base import EngineInfo
from orpheus_clone.layout import RunDir
from orpheus_clone.serve.voices import proof_here
from tests.bundles import made
from tests.nodes import RunningNode


def listed(node: RunningNode, voice: str) -> dict[str, Any] | None:
    found = [entry for entry in node.client.voices() if entry["id"] == voice]
    assert len(found) <= 1
    return found[0] if found else None


def test_stock_voices_are_listed(node: RunningNode) -> None:
    entry = listed(node, "ada")
    assert entry == {"id": "ada", "kind": "stock", "language": "en"}


def test_a_clone_is_listed_with_what_was_proved_and_whether_it_was_consented(
    node: RunningNode, jack: str
) -> None:
    entry = listed(node, jack)
    assert entry is not None
    assert (entry["kind"], entry["base"]) == ("clone", "nano")
    assert (entry["proof"], entry["consent"]) == ("unproven", "no consent recorded")
    assert (entry["canary"], entry["watermark"]) == (None, "none")
    assert entry["bundle"].startswith("jack@")


def test_a_consent_travels_to_the_list(node: RunningNode, run_dir: RunDir, tmp_path: Path) -> None:
    consent = {"sha256": "cd" * 32, "record": "Yes, I agree."}
    node.client.publish(made(run_dir, tmp_path, "agreed", consent=consent))
    entry = listed(node, "agreed")
    assert entry is not None
    assert entry["consent"] == "consent recorded (sha256 cdcdcdcdcdcd)"
    assert "I agree" not in node.get("/v1/audio/voices").text


H200 = EngineInfo("vllm", "NVIDIA H200", "fp8")


def test_a_voice_proved_on_other_hardware_is_unproven_here(
    node: RunningNode, run_dir: RunDir, tmp_path: Path
) -> None:
    there = EngineInfo("vllm", "NVIDIA H200", "fp8")
    measured_on = {**asdict(there), "concurrency": 10}
    elsewhere = made(run_dir, tmp_path, "elsewhere", proof="proven", measured_on=measured_on)
    node.client.publish(elsewhere)
    entry = listed(node, "elsewhere")
    assert entry is not None
    assert entry["proof"] == "unproven here"
    assert proof_here(elsewhere.card, there) == "proven"
    for other in ({"hardware": "NVIDIA L40S"}, {"precision": "bf16"}, {"engine": "hf"}):
        assert proof_here(elsewhere.card, replace(there, **other)) == "unproven here"
