"""Training nano's codec: what must hold whatever is learnt."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import clips
import losses
import numpy as np
import pytest
import quantised
import torch
import train_codec
from codec_plan import Clock, Plan
from quantised import Quantised
from train_codec import Trainer

from orpheus_clone import disk, nano
from orpheus_clone.codec.snac import Codec
from tests.conftest import DATA_SAMPLES

KEPT = nano.WEIGHTS / "codec"
TINY = train_codec.CONFIG | {"encoder_dim": 4, "decoder_dim": 32}


def plan(steps: int, critics: int = 0, *, is_frozen: bool = False) -> Plan:
    return Plan(
        steps=steps, open_steps=4, mix_steps=2, decay_steps=2, rate=1e-3, frames=2, batch=2,
        is_frozen=is_frozen, critics=critics,
    )  # fmt: skip


def trainer(out: Path, wanted: Plan) -> Trainer:
    return Trainer(out, wanted, "cpu", TINY)


def batch(seed: int) -> torch.Tensor:
    return torch.randn(2, 1, 8192, generator=torch.Generator().manual_seed(seed)) * 0.1


def test_opening_the_codebooks_leaves_what_is_not_quantised_as_it_was(tmp_path: Path) -> None:
    made = trainer(tmp_path, plan(9))
    z = made.codec.encoder(batch(0))
    with torch.no_grad():
        before, _ = made.quantised(z, mix=0.0)
        made.quantised.open_codebooks()
        after, _ = made.quantised(z, mix=0.0)
    assert torch.allclose(before, after, atol=1e-4)


def test_quantised_for_training_is_quantised_as_snac_does(tmp_path: Path) -> None:
    made = trainer(tmp_path, plan(9))
    z = made.codec.encoder(batch(0))
    with torch.no_grad():
        made.quantised(z, mix=0.0)
        made.quantised.open_codebooks()
        ours, _ = made.quantised(z, mix=1.1)
        theirs, _ = made.codec.quantizer(z)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_codewords_go_where_the_outputs_are_and_none_is_left_alone(tmp_path: Path) -> None:
    quantised = trainer(tmp_path, plan(9)).quantised
    quantised.pools = [torch.cat([torch.eye(8) * 7, torch.eye(8) * 9]) for _ in quantised.pools]
    quantised.uses[0, :100] = 1
    assert quantised.refresh() == [100, 0, 0]
    book = quantised._quantizers[0].codebook.weight
    assert {round(norm, 2) for norm in book.norm(dim=1).tolist()} <= {7, 8, 9}
    assert (torch.nn.functional.normalize(book).max(dim=1).values > 0.999).all()
    assert not quantised.uses.any()


def test_kmeans_finds_directions() -> None:
    points = torch.cat([torch.eye(8)[i].repeat(50, 1) * (1 + i) for i in range(4)])
    points += 0.01 * torch.randn_like(points)
    centres = quantised._kmeans(points, points[::12])
    nearest = torch.nn.functional.normalize(centres)[:, :4].max(dim=1).values
    assert (nearest > 0.99).all()


def test_the_rate_warms_up_and_ends_at_nothing() -> None:
    wanted = Plan(1000, 0, 0, 100, 2.0, 8, 4, is_frozen=False, critics=0)
    assert [wanted.rate_at(step) for step in (0, 49, 500, 950, 1000)] == [0.04, 2, 2, 1, 0]


def test_the_clock_slows_training_down_and_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, now = Clock(until_s=100, decay_s=40), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    left = []
    for now[0] in (0, 60, 80, 100, 130):
        left.append(clock.left())
    assert left == [1, 1, 0.5, 0, 0]
    monkeypatch.undo()
    assert Clock(until_s=time.monotonic() + 9, decay_s=0).left() == 1


@pytest.mark.parametrize("critics", [0, 2])
def test_resumed_training_is_uninterrupted_training(tmp_path: Path, critics: int) -> None:
    whole = trainer(tmp_path / "whole", plan(8, critics))
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    cut = trainer(tmp_path / "cut", plan(8, critics))
    for step in range(8):
        if step == 6:
            cut.save()
            cut = trainer(tmp_path / "cut", plan(8, critics))
        torch.manual_seed(step)
        one = whole.learn(batch(step))
        torch.manual_seed(step)
        assert cut.learn(batch(step)) == one
        assert all(math.isfinite(loss) for loss in one.values())


def test_what_is_saved_is_a_codec_that_the_product_loads(tmp_path: Path) -> None:
    made = trainer(tmp_path, plan(9))
    for step in range(6):
        made.learn(batch(step))
    made.save()
    codec = Codec(tmp_path / "codec", "cpu")
    wave = batch(0)[0, 0].numpy()
    assert codec.decode(codec.encode(wave)).shape == (8192,)


def test_a_codec_that_was_kept_is_where_training_starts_from(tmp_path: Path) -> None:
    made = trainer(tmp_path, plan(9))
    for step in range(6):
        made.learn(batch(step))
    made.save()
    again = trainer(tmp_path / "again", plan(9))
    again.start_from(tmp_path / "codec")
    kept = made.average.state_dict()
    for codec in (again.codec, again.average):
        assert all(torch.equal(kept[n], value) for n, value in codec.state_dict().items())
    assert again.plan.mix_at(0, again.opened_at) == 1
    again.learn(batch(0))
    assert again.opened_at == -again.plan.mix_steps


def test_the_codec_in_the_tree_is_whole_and_training_goes_on_from_it(tmp_path: Path) -> None:
    for line in (KEPT / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split()
        assert disk.sha256_file(KEPT / name) == digest
    assert json.loads((KEPT / "config.json").read_text(encoding="utf-8")) == train_codec.CONFIG
    made = Trainer(tmp_path, plan(9), "cpu")
    made.start_from(KEPT)
    assert made.learn(batch(0))["mel"] < 1
    assert Codec(KEPT, "cpu").encode(batch(0)[0, 0].numpy()).shape == (4, 7)


def test_critics_join_at_their_step(tmp_path: Path) -> None:
    made = trainer(tmp_path, replace(plan(9, critics=2), critics_from=1))
    assert ["critics" in made.learn(batch(step)) for step in range(2)] == [False, True]


def test_a_frozen_encoder_stays_and_the_decoder_goes_on(tmp_path: Path) -> None:
    made = trainer(tmp_path, plan(9, is_frozen=True))
    before = {name: value.clone() for name, value in made.codec.state_dict().items()}
    made.learn(batch(0))
    moved = {n for n, v in made.codec.state_dict().items() if not torch.equal(v, before[n])}
    assert moved
    assert {name.partition(".")[0] for name in moved} == {"decoder"}


def test_equal_sounds_have_no_mel_distance_and_critics_tell_shapes() -> None:
    mel, wave = losses.MelLoss(), batch(0)
    assert float(mel(wave, wave)) == 0
    assert float(mel(wave * 0.5, wave)) == pytest.approx(math.log10(2), rel=0.05)
    with torch.no_grad():
        judged = losses.Critics(2)(wave)
    assert len(judged) == len(losses.PERIODS) + len(losses.SPECTRA)
    assert float(losses.feature_loss(judged, judged)) == 0


def test_the_pitch_loss_hears_phase_and_only_low_sound() -> None:
    pitch = losses.PitchLoss()
    time = torch.arange(24_000) / 24_000
    low, high = (torch.sin(2 * math.pi * f * time)[None, None] for f in (180.0, 3000.0))
    assert float(pitch(low, low)) < 1e-3
    assert float(pitch(torch.zeros_like(low), low)) == pytest.approx(1, abs=0.02)
    assert float(pitch(-low, low)) == pytest.approx(2, abs=0.04)
    assert float(pitch(low + high, low)) < 0.02


def test_crops_are_of_the_asked_length_and_loudness() -> None:
    speech = clips.read(clips.find([DATA_SAMPLES])[:3])
    made = next(clips.crops(speech, frames=4, batch=8, seed=0))
    assert made.shape == (8, 1, 4 * 2048)
    assert float(made.abs().max()) <= 0.96
    again = next(clips.crops(speech, frames=4, batch=8, seed=0))
    assert torch.equal(made, again)


def test_quiet_crops_stay_quiet() -> None:
    silent = [np.zeros(60_000, np.int16)]
    assert float(next(clips.crops(silent, 4, 2, 0)).abs().max()) == 0


def test_speakers_are_held_out_whole() -> None:
    names = [Path(f"librispeech_test__{speaker}__{u}.ogg") for speaker in range(200) for u in "ab"]
    held = {path.stem.split("__")[1] for path in names if clips.is_held_out(path)}
    assert 10 <= len(held) <= 40
    assert all(clips.is_held_out(p) == (p.stem.split("__")[1] in held) for p in names)
    assert not clips.is_held_out(Path("ada/w00001.ogg"))


def test_the_quantizer_is_trained_with_no_gradient_lost(tmp_path: Path) -> None:
    made = trainer(tmp_path, plan(9))
    quantised: Quantised = made.quantised
    z = made.codec.encoder(batch(0))
    total, loss = quantised(z, mix=1.1)
    torch.autograd.backward(total.sum() + loss)
    for name in ("in_proj.bias", "out_proj.bias", "codebook.weight"):
        for quantizer in made.codec.quantizer.quantizers:
            assert quantizer.get_parameter(name).grad.abs().sum() > 0, name
