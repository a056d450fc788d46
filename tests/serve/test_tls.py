"""HTTPS to clients and between nodes, and what is said of certificates that cannot be used."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from websockets.asyncio.client import connect

from orpheus_clone.cluster.memory import MemoryRegistry
from orpheus_clone.codec.snac import Codec
from orpheus_clone.errors import RecipeError
from orpheus_clone.models import BaseModel
from orpheus_clone.serve.tls import Tls
from tests.nodes import running
from tests.serve.talking import Socket, Talker, talking
from tests.tls import self_signed


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return self_signed(tmp_path / "certificate.pem")


@pytest_asyncio.fixture
async def pair(
    request: pytest.FixtureRequest, certificate: Path, codec: Codec, base: BaseModel, tmp_path: Path
) -> AsyncGenerator[tuple[str, Talker, Talker], None]:
    """The address of a node whose engine is dead, both engines; it has to ask the other one."""
    dead, lives = Talker(), Talker()
    dead.lives = False
    tls = Tls(certificate, ca=certificate if request.param == "believed" else None)
    registry = MemoryRegistry()
    async with AsyncExitStack() as stack:
        for engine in (lives, dead):
            node = talking(engine, codec, base, tmp_path, registry=registry, tls=tls)
            address = await stack.enter_async_context(node)
        yield address, dead, lives


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


async def speak(address: str, certificate: Path) -> httpx.Response:
    body = {"model": "nano", "input": "Hello.", "voice": "ada", "response_format": "pcm"}
    async with httpx.AsyncClient(verify=trusting(certificate)) as http:
        return await http.post(f"https://{address}/v1/audio/speech", json=body)


@pytest.mark.parametrize("pair", ["believed"], indirect=True)
async def test_a_session_is_carried_to_a_node_whose_certificate_is_believed(
    pair: tuple[str, Talker, Talker], certificate: Path
) -> None:
    address, dead, lives = pair
    assert (await speak(address, certificate)).status_code == 200
    url = f"wss://{address}/v1/text-to-speech/ada/stream-input?output_format=pcm_24000"
    async with connect(url, ssl=trusting(certificate)) as open_:
        client = Socket(open_)
        await client.say({"text": "Hello."}, {"text": ""})
        await client.hear(lambda message: message.get("isFinal"))
    assert (len(dead.requests), len(lives.requests)) == (0, 2)


@pytest.mark.parametrize("pair", ["not believed"], indirect=True)
async def test_a_node_whose_certificate_is_not_believed_gets_no_session(
    pair: tuple[str, Talker, Talker], certificate: Path
) -> None:
    address, _, lives = pair
    answer = await speak(address, certificate)
    assert (answer.status_code, len(lives.requests)) == (503, 0)


def test_a_node_is_told_to_speak_https_by_its_options(
    certificate: Path, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with running(tmp_path, "--tls-cert", str(certificate)) as node:
        assert node.url.startswith("https://127.0.0.1:")
        assert {voice["kind"] for voice in node.client.voices()} == {"stock"}


def test_without_options_a_node_speaks_http() -> None:
    assert Tls().listening() is None


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"key": "here"}, "--tls-key .*here: wants its certificate, --tls-cert FILE"),
        ({"cert": "missing"}, "--tls-cert .*missing: .*No such file"),
        ({"cert": "nonsense"}, "--tls-cert .*nonsense: .*expected a certificate and its key"),
        ({"cert": "certificate.pem", "key": "other.pem"}, "--tls-key .*other.pem: .*mismatch"),
        ({"cert": "locked.pem"}, "--tls-cert .*locked.pem: .*without a password"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_named(
    certificate: Path, tmp_path: Path, files: dict[str, str], said: str
) -> None:
    (tmp_path / "nonsense").write_text("nonsense", encoding="utf-8")
    self_signed(tmp_path / "other.pem")
    (tmp_path / "locked.pem").write_bytes(locked(certificate.read_bytes()))
    with pytest.raises(RecipeError, match=said):
        Tls(**{name: tmp_path / file for name, file in files.items()}).listening()


def locked(pem: bytes) -> bytes:
    """A key and its certificate, the key with a password."""
    key = serialization.load_pem_private_key(pem, None)
    how = serialization.BestAvailableEncryption(b"hunter2")
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, how)
    return private + pem[pem.index(b"-----BEGIN CERTIFICATE") :]


def test_an_authority_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    for name, text in (("missing", None), ("nonsense", "nonsense")):
        if text is not None:
            (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(RecipeError, match=f"--tls-ca .*{name}: .*expected PEM"):
            Tls(ca=tmp_path / name).connecting()
