import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from orpheus_clone.codec.snac import Codec
from orpheus_clone.errors import ArtifactError, AudioError
from orpheus_clone.models import BaseModel
from orpheus_clone.tokens import Codes
from tests.signals import noise

FRAME_SAMPLES = 2048


def some_codes(frames: int, seed: int = 0) -> Codes:
    return np.random.default_rng(seed).integers(0, 4096, (frames, 7))


@pytest.fixture
def copy_of_codec(base: BaseModel, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base.codec_path, tmp_path / "codec"))


def test_a_stream_of_nothing_is_no_samples(codec: Codec) -> None:
    assert len(codec.decode(some_codes(0))) == 0


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_encode_gives_a_row_of_seven_a_frame(codec: Codec, frames: int) -> None:
    codes = codec.encode(noise(1000, -20)[: frames * FRAME_SAMPLES])
    assert codes.shape == (frames, 7)
    assert codes.min() >= 0
    assert codes.max() <= 4095


def test_encode_hears_a_difference(codec: Codec) -> None:
    loud, other = noise(1000, -20)[:8192], noise(1000, -20, seed=1)[:8192]
    assert not np.array_equal(codec.encode(loud), codec.encode(other))
    assert np.array_equal(codec.encode(loud), codec.encode(loud))


@pytest.mark.parametrize("samples", [0, 1, 2047, 2049, 4095])
def test_encode_refuses_a_partial_frame(codec: Codec, samples: int) -> None:
    with pytest.raises(AudioError, match=f"{samples} samples are not whole frames of 2048"):
        codec.encode(np.zeros(samples, np.float32))


def test_a_codec_of_its_own_noise_is_not_silent_and_ours_is(base: BaseModel, codec: Codec) -> None:
    codes = some_codes(4)
    noisy = Codec(base.codec_path)
    assert np.array_equal(codec.decode(codes), codec.decode(codes))
    assert not np.array_equal(noisy.decode(codes), noisy.decode(codes))


def test_pickled_weights_of_tensors_alone_load(copy_of_codec: Path, codec: Codec) -> None:
    torch.save(load_file(copy_of_codec / "model.safetensors"), copy_of_codec / "pytorch_model.bin")
    (copy_of_codec / "model.safetensors").unlink()
    pickled = Codec(copy_of_codec, is_silent=True)
    assert np.array_equal(pickled.decode(some_codes(3)), codec.decode(some_codes(3)))


class Payload:
    """What an attacker would pickle: unpickling it makes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.proof,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(
    copy_of_codec: Path, tmp_path: Path, writer: str
) -> None:
    (copy_of_codec / "model.safetensors").unlink()
    payload = {"weights": Payload(tmp_path / "ran")}
    if writer == "torch":
        torch.save(payload, copy_of_codec / "pytorch_model.bin")
    else:
        (copy_of_codec / "pytorch_model.bin").write_bytes(pickle.dumps(payload, protocol=2))
    with pytest.raises(ArtifactError, match=r"pytorch_model\.bin: is not tensors alone"):
        Codec(copy_of_codec)
    assert not (tmp_path / "ran").exists()


def test_a_codec_without_weights_says_what_it_lacks(copy_of_codec: Path) -> None:
    (copy_of_codec / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"neither model.safetensors nor pytorch_model.bin"):
        Codec(copy_of_codec)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\0\0\0\0\0\0\0{}      "])
def test_weights_that_are_no_safetensors_are_refused(copy_of_codec: Path, content: bytes) -> None:
    (copy_of_codec / "model.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match="is not a SNAC codec"):
        Codec(copy_of_codec)


def test_half_a_pickle_is_refused(copy_of_codec: Path) -> None:
    torch.save(load_file(copy_of_codec / "model.safetensors"), copy_of_codec / "pytorch_model.bin")
    (copy_of_codec / "model.safetensors").unlink()
    content = (copy_of_codec / "pytorch_model.bin").read_bytes()
    (copy_of_codec / "pytorch_model.bin").write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError):
        Codec(copy_of_codec)


@pytest.mark.parametrize(
    ("key", "value"), [("sampling_rate", 44100), ("vq_strides", [8, 4, 2]), ("nonsense", 1)]
)
def test_another_codec_is_refused(copy_of_codec: Path, key: str, value: object) -> None:
    config = json.loads((copy_of_codec / "config.json").read_text(encoding="utf-8"))
    (copy_of_codec / "config.json").write_text(json.dumps(config | {key: value}))
    with pytest.raises(ArtifactError, match="is not "):
        Codec(copy_of_codec)


def test_a_directory_without_a_codec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is not a SNAC codec"):
        Codec(tmp_path)
