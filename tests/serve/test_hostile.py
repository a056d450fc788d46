"""Bundles and archives that mean harm: refused with the reason, the node alive, no voice moved."""

import contextlib
import hashlib
import io
import json
import pickle
import socket
import struct
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from orpheus_clone import bundle, client, disk
from orpheus_clone.bundle import Bundle
from orpheus_clone.errors import ArtifactError, DataError
from orpheus_clone.layout import RunDir
from orpheus_clone.recipe import Sampling
from orpheus_clone.serve.releases import unpack
from tests.bundles import SHORT_FRAMES, frames_of, made
from tests.nodes import RunningNode
from tests.serve.conftest import packed, tar_of
from tests.serve.test_speech import error_of
from tests.serve.test_voices import listed

Maker = Callable[[str], Bundle]
Weights = dict[str, torch.Tensor]


def refusal(node: RunningNode, name: str, body: bytes) -> tuple[int, str]:
    """The status and message with which a node refuses a bundle, which leaves no voice."""
    answer = node.post(f"/v1/voices/{name}", body)
    assert answer.is_error
    assert listed(node, name.partition("@")[0]) is None
    assert node.get("/readyz").status_code == 200
    return answer.status_code, str(error_of(answer)["message"])


def forged(source: Bundle, weights: bytes, **config: object) -> tuple[str, bytes]:
    """A bundle with other weights, and with every digest and its name made right."""
    card = disk.read_json(source.path / bundle.VOICE_FILE, "")
    card["adapter_digest"] = hashlib.sha256(weights).hexdigest()
    settings = disk.read_json(source.path / bundle.CONFIG_FILE, "") | config
    body = packed(
        source,
        {bundle.CONFIG_FILE: json.dumps(settings).encode()},
        voice=json.dumps(card).encode(),
        weights=weights,
    )
    with tempfile.TemporaryDirectory() as folder:
        unpack(body, Path(folder) / "forged")
        digest = bundle.content_digest(Path(folder) / "forged")
    return bundle.bundle_name(source.card.voice, digest), body


def weights_of(source: Bundle) -> Weights:
    return load((source.path / bundle.WEIGHTS_FILE).read_bytes())


def test_a_pickle_is_refused(node: RunningNode, voice_bundle: Maker) -> None:
    source = voice_bundle("pickled")
    body = packed(source, {"adapter_model.bin": pickle.dumps({"weights": 1})})
    status, message = refusal(node, source.name, body)
    assert (status, "adapter_model.bin" in message) == (409, True)


def test_weights_that_are_a_pickle_are_refused(node: RunningNode, voice_bundle: Maker) -> None:
    name, body = forged(voice_bundle("masked"), pickle.dumps({"weights": 1}))
    status, message = refusal(node, name, body)
    assert (status, "refused unread" in message) == (409, True)


def test_weights_of_other_shapes_are_refused(node: RunningNode, voice_bundle: Maker) -> None:
    source = voice_bundle("misshapen")
    weights = weights_of(source)
    last = sorted(weights)[-1]
    weights[last] = torch.zeros(33, 4, dtype=torch.bfloat16)
    status, message = refusal(node, *forged(source, save(weights)))
    assert (status, f"{last} has shape (33, 4)" in message) == (409, True)


def test_weights_of_another_model_are_refused(node: RunningNode, voice_bundle: Maker) -> None:
    """Whole in themselves, and with the right base's digest in the card."""
    source = voice_bundle("smaller")
    weights = {name: t for name, t in weights_of(source).items() if ".layers.0." in name}
    status, message = refusal(node, *forged(source, save(weights)))
    assert (status, "layers 1" in message, "layers 2" in message) == (409, True, True)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_weights_that_no_training_makes_are_refused(
    node: RunningNode, voice_bundle: Maker, value: float
) -> None:
    source = voice_bundle("poisoned")
    weights = weights_of(source)
    next(iter(weights.values()))[0, 0] = value
    status, message = refusal(node, *forged(source, save(weights)))
    assert (status, "or that are not numbers" in message) == (409, True)


def test_rank_512_is_refused(node: RunningNode, voice_bundle: Maker) -> None:
    source = voice_bundle("ranked")
    wide = {
        name: torch.zeros([512 if size == 4 else size for size in tensor.shape]).bfloat16()
        for name, tensor in weights_of(source).items()
    }
    status, message = refusal(node, *forged(source, save(wide), r=512))
    assert (status, "rank 512 is not 1 to 16" in message) == (409, True)
    status, message = refusal(node, *forged(source, save(wide)))
    assert (status, "rank 4 wants" in message) == (409, True)


def test_a_header_that_claims_10_gb_is_refused_unread(
    node: RunningNode, voice_bundle: Maker
) -> None:
    weights = struct.pack("<Q", 10 * 10**9) + b"{}"
    status, message = refusal(node, *forged(voice_bundle("headed"), weights))
    assert (status, "claims 10000000000 bytes" in message) == (409, True)


def test_a_card_that_would_break_the_list_of_voices_is_refused(
    node: RunningNode, voice_bundle: Maker
) -> None:
    source = voice_bundle("listed")
    card = disk.read_json(source.path / bundle.VOICE_FILE, "")
    card["measured_on"] = {"hardware": float("nan")}
    status, message = refusal(node, source.name, packed(source, voice=json.dumps(card).encode()))
    assert (status, "voice.json" in message) == (409, True)


def test_an_archive_that_holds_a_file_twice_is_refused(
    node: RunningNode, voice_bundle: Maker
) -> None:
    entries = [(tarfile.TarInfo(bundle.VOICE_FILE), b"{}") for _ in range(2)]
    status, message = refusal(node, voice_bundle("twice").name, tar_of(entries))
    assert (status, "'voice.json' twice" in message) == (409, True)


def test_an_entry_that_claims_a_terabyte_is_refused_unread(
    node: RunningNode, voice_bundle: Maker
) -> None:
    entry = tarfile.TarInfo(bundle.WEIGHTS_FILE)
    entry.size = 10**12
    body = entry.tobuf(format=tarfile.GNU_FORMAT) + b"\0" * 1024
    status, message = refusal(node, voice_bundle("huge").name, body)
    assert (status, "has 1000000000000 bytes" in message) == (409, True)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_SPARSE, tarfile.CONTTYPE])
def test_a_sparse_entry_is_refused(node: RunningNode, voice_bundle: Maker, kind: bytes) -> None:
    entry = tarfile.TarInfo(bundle.WEIGHTS_FILE)
    entry.type = kind
    body = entry.tobuf(format=tarfile.GNU_FORMAT) + b"\0" * 1024
    assert refusal(node, voice_bundle("sparse").name, body)[0] == 409


def test_a_sparse_entry_in_a_pax_header_is_refused(node: RunningNode, voice_bundle: Maker) -> None:
    """A terabyte of zeros that the archive holds in one block."""
    entry = tarfile.TarInfo(bundle.WEIGHTS_FILE)
    entry.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": bundle.WEIGHTS_FILE,
        "GNU.sparse.realsize": str(10**12),
    }
    entry.size = 512
    sparse_map = b"1\n0\n1\n".ljust(512, b"\0")
    body = entry.tobuf(format=tarfile.PAX_FORMAT) + sparse_map + b"\0" * 1024
    assert refusal(node, voice_bundle("sparse").name, body)[0] == 409


def test_a_compressed_archive_is_refused(node: RunningNode, voice_bundle: Maker) -> None:
    """A bomb is a kilobyte of gzip."""
    source = voice_bundle("bomb")
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as tar:
        entry = tarfile.TarInfo(bundle.WEIGHTS_FILE)
        entry.size = 50_000_000
        tar.addfile(entry, io.BytesIO(bytes(entry.size)))
    assert len(written.getvalue()) < 100_000
    assert refusal(node, source.name, written.getvalue())[0] == 409


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


def test_a_right_name_with_a_wrong_digest_is_refused(
    node: RunningNode, voice_bundle: Maker
) -> None:
    source = voice_bundle("misnamed")
    status, message = refusal(node, "misnamed@000000000000", packed(source))
    assert (status, "its name says 000000000000" in message) == (409, True)


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
            b"POST /v1/voices/jack@000000000000 HTTP/1.1\r\nhost: localhost\r\n"
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
    assert io.BytesIO(client.pack(source)).read(12) == b"README.md\0\0\0"


def test_after_all_that_the_node_speaks(node: RunningNode, jack: str) -> None:
    assert frames_of(node.speak("Hello.", jack).content[44:]) == SHORT_FRAMES
    assert node.process.poll() is None
    assert "Traceback" not in node.log.read_text(encoding="utf-8")
