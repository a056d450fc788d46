"""What a node lists: stock voices, clones, and what was proved of them."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx

from orpheus_clone import bundle
from orpheus_clone.cluster.membership import Membership
from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.cluster.state import NodeState, Pool
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import EngineInfo
from orpheus_clone.errors import StoreError
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.serve.app import create_app
from orpheus_clone.serve.auth import Keys
from orpheus_clone.serve.node import Node
from orpheus_clone.serve.service import Service
from orpheus_clone.serve.voices import proof_here
from orpheus_clone.speech import Speaker
from orpheus_clone.store import Store
from orpheus_clone.store.directory import DirectoryObjects
from orpheus_clone.store.objects import Stored
from tests.bundles import made
from tests.nodes import RunningNode
from tests.serve.talking import Talker


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


class Away(DirectoryObjects):
    """A cloud that does not answer where the key names one who is away."""

    def read(self, key: str, most: int) -> Stored | None:
        if "away" in key:
            raise StoreError("the store does not answer")
        return super().read(key, most)


async def test_one_voice_that_cannot_be_read_takes_no_other_from_a_list(
    codec: Codec, base: BaseModel, run_dir: RunDir, tmp_path: Path
) -> None:
    """Nor is a bundle read for it: of the weights there is nothing left."""
    store = Store(Away(tmp_path / "store"))
    for voice in ("here", "altered"):
        stored = store.add(made(run_dir, tmp_path / "made", voice))
        store.move(store.see(voice), "publish", store.pointer(voice).published(stored.name))
        (stored.path / bundle.WEIGHTS_FILE).unlink()
    (stored.path / bundle.VOICE_FILE).write_text("{", encoding="utf-8")
    (tmp_path / "store/voices/away.jsonl").touch()
    (tmp_path / "store/voices/broken.jsonl").write_text("{", encoding="utf-8")
    members = Membership(MemoryRegistry(), NodeState("one", "http://one", Pool("base", "en")))
    app = create_app(Service(Node(Speaker(Talker(), codec, base), store, 1), members, Keys([])))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        audio = (await client.get("/v1/audio/voices")).json()["voices"]
        elevenlabs = (await client.get("/v1/voices")).json()["voices"]
        nodes = (await client.get("/v1/nodes")).json()
    errors = {entry["id"]: entry.get("error") for entry in audio if entry["kind"] == "clone"}
    assert list(errors) == ["altered", "away", "broken", "here"]
    assert (errors["here"], errors["away"]) == (None, "the store does not answer")
    assert "voice.json" in errors["altered"]
    assert "broken.jsonl" in errors["broken"]
    assert [v["name"] for v in elevenlabs if v["category"] == "cloned"] == list(errors)
    assert set(nodes["owners"]) == {"altered", "here"}


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
