"""What is carried away comes back as it was."""

from pathlib import Path

import carry
import clips
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from orpheus_clone import disk
from tests.conftest import DATA_SAMPLES


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 250])
def test_what_was_split_is_joined_as_it_was(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "PIECE", 100)
    content = bytes(i % 251 for i in range(size))
    (tmp_path / "a.pt").write_bytes(content)
    (tmp_path / "b.pt").write_bytes(b"other")
    carry.main(["split", str(tmp_path / "p"), str(tmp_path / "a.pt"), str(tmp_path / "b.pt")])
    assert all(piece.stat().st_size <= 100 for piece in (tmp_path / "p").iterdir())
    carry.main(["join", str(tmp_path / "back"), str(tmp_path / "p")])
    assert (tmp_path / "back" / "b.pt").read_bytes() == b"other"
    if size:
        assert (tmp_path / "back" / "a.pt").read_bytes() == content


def test_packed_recordings_keep_their_names_and_length(tmp_path: Path) -> None:
    folder = tmp_path / "speaker"
    folder.mkdir()
    (folder / "001.flac").symlink_to(DATA_SAMPLES / "001.flac")
    carry.pack(tmp_path / "out", [tmp_path])
    (packed,) = clips.find([tmp_path / "out"])
    assert packed.relative_to(tmp_path / "out") == Path("speaker/001.ogg")
    before, after = soundfile.info(DATA_SAMPLES / "001.flac"), soundfile.info(packed)
    assert after.duration == pytest.approx(before.duration, abs=0.01)
    assert packed.stat().st_size < 4000 * after.duration


def test_a_slim_checkpoint_goes_on_nearly_as_the_whole_one(tmp_path: Path) -> None:
    layer = torch.nn.Linear(4, 4)
    optimiser = torch.optim.AdamW(layer.parameters())
    for _ in range(3):
        optimiser.zero_grad()
        torch.autograd.backward(layer(torch.ones(4)).square().sum())
        optimiser.step()
    torch.save({"optimisers": [optimiser.state_dict()], "step": 3}, tmp_path / "whole.pt")
    carry.main(["slim", str(tmp_path / "whole.pt"), str(tmp_path / "slim.pt")])
    state = torch.load(tmp_path / "slim.pt", weights_only=True)
    other = torch.optim.AdamW(layer.parameters())
    other.load_state_dict(state["optimisers"][0])
    for mine, its in zip(optimiser.state.values(), other.state.values(), strict=True):
        assert its["step"] == mine["step"]
        assert its["exp_avg"].dtype == torch.float32
        assert torch.allclose(its["exp_avg"], mine["exp_avg"], rtol=0.01)


def test_a_codec_that_is_kept_comes_with_its_digests(tmp_path: Path) -> None:
    (tmp_path / "codec").mkdir()
    (tmp_path / "codec" / "config.json").write_text("{}\n", encoding="utf-8")
    save_file({"weight": torch.tensor([1.0, 0.1])}, tmp_path / "codec" / "model.safetensors")
    carry.main(["keep", str(tmp_path / "codec"), str(tmp_path / "kept")])
    weight = load_file(tmp_path / "kept" / "model.safetensors")["weight"]
    assert weight.dtype == torch.float16
    assert weight.tolist() == pytest.approx([1.0, 0.1], abs=1e-4)
    for line in (tmp_path / "kept" / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split()
        assert disk.sha256_file(tmp_path / "kept" / name) == digest


def test_a_kept_base_is_its_weights_at_half_precision_and_its_tokenizer(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    ids = torch.arange(3)
    save_file({"table.weight": torch.rand(4, 2), "ids": ids}, run / "base.safetensors")
    for name in ("config.json", "tokenizer.json"):
        (run / name).write_text("{}\n", encoding="utf-8")
    carry.main(["keep", str(run), str(tmp_path / "kept")])
    kept = load_file(tmp_path / "kept" / "base.safetensors")
    assert kept["table.weight"].dtype == torch.bfloat16
    assert kept["ids"].equal(ids)
    for line in (tmp_path / "kept" / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split("  ")
        assert disk.sha256_file(tmp_path / "kept" / name) == digest
