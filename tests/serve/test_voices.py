"""Publishing to a node: what it takes, and what it refuses with the old voice left in place."""

import contextlib
import hashlib
import io
import json
import pickle
import socket
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus_clone import bundle, client, layout, recipe
from orpheus_clone.bundle import Bundle
from orpheus_clone.engine.base import EngineInfo
from orpheus_clone.errors import ArtifactError, DataError, UnknownVoice
from orpheus_clone.layout import RunDir
from orpheus_clone.publish.run import publish, rollback
from orpheus_clone.recipe import Sampling
from orpheus_clone.serve.voices import proof_here, unpack
from tests.bundles import SHORT, frames_of, made, reported
from tests.nodes import RunningNode
from tests.serve.conftest import packed, tar_of
from tests.serve.test_speech import error_of

Maker = Callable[[str], Bundle]


def listed(node: RunningNode, voice: str) -> dict[str, Any] | None:
    found = [entry for entry in node.client.voices() if entry["id"] == voice]
    assert len(found) <= 1
    return found[0] if found else None


def refusal(node: RunningNode, name: str, body: bytes) -> tuple[int, str]:
    """The status and message with which a node refuses a bundle, which leaves no voice."""
    answer = node.post(f"/v1/voices/{name}", body)
    assert answer.is_error
    assert listed(node, name.partition("@")[0]) is None
    return answer.status_code, str(error_of(answer)["message"])


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


def test_published_rolled_back_and_published_again_as_a_user_does(
    node: RunningNode, run_dir: RunDir, tmp_path: Path
) -> None:
    runs = []
    for i, seconds in enumerate((0.5, 0.6)):
        chosen = SHORT.model_copy(update={"max_seconds": seconds})
        allowed = recipe.Recipe(sampling=chosen, publish=recipe.Publish(allow_unproven=True))
        run = reported(run_dir, tmp_path / f"run{i}", "unproven", "not measurable", allowed)
        stamp = layout.read_json(run.stamp_file, "")
        layout.write_json(run.stamp_file, stamp | {"voice": "rolled"})
        runs.append(run)
    old, new = [publish(run, node.url) for run in runs]
    assert (old.is_new, new.is_new, new.proof) == (True, True, "unproven")
    assert not publish(runs[1], node.url).is_new
    lengths = [frames_of(node.speak("Hello.", "rolled").content[44:])]
    assert rollback("rolled", node.url) == old.bundle
    entry = listed(node, "rolled")
    assert entry is not None
    assert entry["bundle"] == old.bundle
    lengths.append(frames_of(node.speak("Hello.", "rolled").content[44:]))
    assert lengths == [7, 5]
    with pytest.raises(ArtifactError, match=r"409.*no earlier bundle"):
        rollback("rolled", node.url)
    assert publish(runs[1], node.url).is_new


def test_rolling_back_an_unknown_voice_is_refused(node: RunningNode) -> None:
    with pytest.raises(UnknownVoice, match=r"404.*no voice 'nobody'"):
        node.client.rollback("nobody")


def test_a_pickle_is_refused(node: RunningNode, voice_bundle: Maker) -> None:
    source = voice_bundle("pickled")
    body = packed(source, {"adapter_model.bin": pickle.dumps({"weights": 1})})
    status, message = refusal(node, source.name, body)
    assert (status, "adapter_model.bin" in message) == (409, True)


def test_weights_that_are_a_pickle_are_refused(node: RunningNode, voice_bundle: Maker) -> None:
    source = voice_bundle("masked")
    weights = pickle.dumps({"weights": 1})
    card = layout.read_json(source.path / bundle.VOICE_FILE, "")
    card["adapter_digest"] = hashlib.sha256(weights).hexdigest()
    body = packed(source, voice=json.dumps(card).encode(), weights=weights)
    unpack(body, source.path.with_name("masked"))
    name = f"masked@{bundle.content_digest(source.path.with_name('masked'))[:12]}"
    status, message = refusal(node, name, body)
    assert (status, "is not safetensors" in message) == (409, True)


@pytest.mark.parametrize("name", ["extra.txt", "../escaped", "/tmp/escaped", "sub/voice.json"])
def test_a_file_that_no_bundle_has_is_refused(
    node: RunningNode, voice_bundle: Maker, name: str
) -> None:
    source = voice_bundle("extra")
    status, message = refusal(node, source.name, packed(source, {name: b"x"}))
    assert (status, repr(name) in message) == (409, True)
    assert not Path("/tmp/escaped").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_link_in_the_archive_is_refused(
    node: RunningNode, voice_bundle: Maker, kind: bytes
) -> None:
    source = voice_bundle("linked")
    link = tarfile.TarInfo(bundle.WEIGHTS_FILE)
    link.type, link.linkname = kind, "/etc/passwd"
    status, message = refusal(node, source.name, tar_of([(link, b"")]))
    assert (status, bundle.WEIGHTS_FILE in message) == (409, True)


def test_a_bundle_that_lacks_a_file_is_refused(node: RunningNode, voice_bundle: Maker) -> None:
    source = voice_bundle("partial")
    only = (source.path / bundle.VOICE_FILE).read_bytes()
    body = tar_of([(tarfile.TarInfo(bundle.VOICE_FILE), only)])
    status, message = refusal(node, source.name, body)
    assert (status, "expected exactly" in message) == (409, True)


def test_weights_that_were_altered_are_refused(node: RunningNode, voice_bundle: Maker) -> None:
    source = voice_bundle("altered")
    weights = (source.path / bundle.WEIGHTS_FILE).read_bytes()
    status, message = refusal(
        node, source.name, packed(source, weights=weights[:-1] + bytes([weights[-1] ^ 1]))
    )
    assert (status, "its content has digest" in message) == (409, True)


def test_a_bundle_under_the_name_of_another_voice_is_refused(
    node: RunningNode, voice_bundle: Maker
) -> None:
    source = voice_bundle("renamed")
    name = f"other@{source.digest[:12]}"
    status, message = refusal(node, name, packed(source))
    assert (status, "its name says" in message) == (409, True)


def test_a_bundle_of_another_base_is_refused_with_both_digests(
    node: RunningNode, run_dir: RunDir, tmp_path: Path
) -> None:
    source = made(run_dir, tmp_path, "foreign", base="orpheus-3b", base_digest="0" * 64)
    with pytest.raises(
        ArtifactError, match="was trained on orpheus-3b 000000000000, but this is nano"
    ):
        node.client.publish(source)
    assert listed(node, "foreign") is None


def test_a_voice_named_like_a_stock_voice_is_refused(
    node: RunningNode, voice_bundle: Maker
) -> None:
    with pytest.raises(DataError, match=r"400.*'ada' is a stock voice"):
        node.client.publish(voice_bundle("ada"))


def test_a_refused_bundle_leaves_the_earlier_one_in_place(
    node: RunningNode, run_dir: RunDir, tmp_path: Path
) -> None:
    good = made(run_dir, tmp_path, "kept")
    node.client.publish(good)
    for bad in (
        made(run_dir, tmp_path, "kept", base_digest="0" * 64),
        made(run_dir, tmp_path, "kept", sampling=Sampling(temperature=0.1)),
    ):
        body = packed(bad, weights=b"nonsense") if bad.card.base_digest != "0" * 64 else packed(bad)
        assert node.post(f"/v1/voices/{bad.name}", body).status_code == 409
        entry = listed(node, "kept")
        assert entry is not None
        assert entry["bundle"] == good.name


@pytest.mark.parametrize("body", [b"", b"nonsense", b"\0" * 512, b"\x1f\x8b" + b"x" * 600])
def test_a_body_that_is_no_archive_is_refused(
    node: RunningNode, voice_bundle: Maker, body: bytes
) -> None:
    assert refusal(node, voice_bundle("nonsense").name, body)[0] == 409


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..",
        "..%2Fx@000000000000",
        "%2e%2e",
        "jack",
        "jack@xyz",
        "JACK@000000000000",
        "@",
        "a@b",
    ],
)
def test_a_path_or_half_a_name_is_no_bundle(node: RunningNode, name: str) -> None:
    answer = node.post(f"/v1/voices/{name}", b"x")
    assert answer.status_code in (400, 404, 405)
    assert error_of(answer)["message"]


@pytest.mark.parametrize("voice", ["..%2f..", "%2e%2e", "JACK", "a%00"])
def test_a_path_is_not_rolled_back(node: RunningNode, voice: str) -> None:
    answer = node.post(f"/v1/voices/{voice}/rollback")
    assert answer.status_code in (400, 404, 405)


def test_a_bundle_that_says_it_is_too_large_is_refused_unread(node: RunningNode) -> None:
    url = httpx.URL(node.url)
    with socket.create_connection((url.host, url.port or 80), timeout=10) as raw:
        raw.sendall(
            b"POST /v1/voices/jack@000000000000 HTTP/1.1\r\nhost: node\r\n"
            b"content-length: 1000000000\r\n\r\n"
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=2048), st.integers(0, 8000), st.data())
def test_no_archive_does_more_than_fail(content: bytes, cut: int, data: st.DataObject) -> None:
    entries = [(tarfile.TarInfo(name), content) for name in bundle.FILES]
    whole = bytearray(tar_of(entries)[:cut])
    for _ in range(data.draw(st.integers(0, 3))):
        if whole:
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(ArtifactError):
            unpack(bytes(whole), Path(folder) / "new")
        assert {path.name for path in Path(folder).iterdir()} == {"new"}
        assert {path.name for path in (Path(folder) / "new").iterdir()} <= set(bundle.FILES)


def test_what_the_client_packs_is_unpacked_the_same(voice_bundle: Maker, tmp_path: Path) -> None:
    source = voice_bundle("whole")
    target = tmp_path / source.name
    unpack(client.pack(source), target)
    again = bundle.read(target)
    assert (again.digest, asdict(again.card)) == (source.digest, asdict(source.card))
    assert json.loads((target / bundle.VOICE_FILE).read_bytes())["voice"] == "whole"
    assert io.BytesIO(client.pack(source)).read(12) == b"voice.json\0\0"
