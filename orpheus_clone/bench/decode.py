"""decode: our streaming path against decoding all at once, on the same codes and codec."""

import time
from collections.abc import Callable

import numpy as np

from orpheus_clone import models, tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.bench import Result
from orpheus_clone.codec import Codec, StreamDecoder

FRAMES = 60
"""5.12 s of sound."""
ROUNDS = 3


def run() -> Result:
    """Best of some rounds of each, alternating; keys: ratio, frames_lost, later_frames_snr_db."""
    codec = Codec(models.locate("nano").codec_path, is_silent=True)
    codes = np.random.default_rng(0).integers(0, tokens.CODEBOOK, (FRAMES, tokens.FRAME))
    ids = tokens.codes_to_tokens(codes)

    def streamed() -> Waveform:
        decoder = StreamDecoder(codec)
        frames = [ids[i : i + tokens.FRAME] for i in range(0, len(ids), tokens.FRAME)]
        return np.concatenate([*[decoder.push(frame) for frame in frames], decoder.finish()])

    whole, chunks = codec.decode(codes), streamed()
    whole_s, streamed_s = best_of(ROUNDS, lambda: codec.decode(codes), streamed)
    rows = [_row("all at once", whole_s), _row("streamed", streamed_s)]
    error = chunks[: len(whole)] - whole
    line = {
        "bench": "decode",
        "ratio": round(streamed_s / whole_s, 2),
        "frames_lost": FRAMES - len(chunks) // tokens.FRAME_SAMPLES,
        "snr_db": round(float(10 * np.log10((whole**2).mean() / (error**2).mean())), 1),
        "model": "nano",
    }
    return Result(rows, line)


def best_of(rounds: int, *candidates: Callable[[], object]) -> list[float]:
    """Shortest seconds of each candidate; they take turns, so that a busy machine is fair."""
    best = [float("inf")] * len(candidates)
    for _ in range(rounds):
        for i, candidate in enumerate(candidates):
            began = time.perf_counter()
            candidate()
            best[i] = min(best[i], time.perf_counter() - began)
    return best


def _row(name: str, seconds: float) -> dict[str, object]:
    sound = FRAMES * tokens.FRAME_SAMPLES / tokens.SAMPLE_RATE
    return {
        "path": name,
        "ms_per_frame": round(1000 * seconds / FRAMES, 3),
        "times_real_time": round(sound / seconds, 1),
    }
