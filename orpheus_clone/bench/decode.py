"""decode: our streaming path against upstream's, on what nano says and on SNAC 24 kHz's own size.

Upstream's algorithm (canopyai/Orpheus-TTS, `decoder.py`), written down here as the reference: each
time seven tokens have come and 28 are there, decode the last 28 and emit samples 2048 to 4096.
So four frames are decoded for one, one stream at a time; the first frame and the last two are
never heard; and nothing of less than four frames.

Milliseconds are of the codec's modules alone on both sides, in one run, taking turns.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np

from orpheus_clone import disk, models, tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.bench import Result
from orpheus_clone.bench.playing import play
from orpheus_clone.codec.snac import Codec, default_device
from orpheus_clone.codec.stream import StreamDecoder, decoded
from orpheus_clone.codec.window import FRAMES, LATENTS, LEFT_FRAMES, RIGHT_FRAMES, Window
from orpheus_clone.engine import open_engine
from orpheus_clone.engine.base import Request
from orpheus_clone.models import BaseModel
from orpheus_clone.player import Player
from orpheus_clone.recipe import Sampling
from orpheus_clone.speech import max_frames
from orpheus_clone.tokens import FRAME_SAMPLES, Codes

TEXT = "Hello, this is my new voice, and I love to speak with you in the morning."
MAX_SECONDS = 8.0
STREAMS = (1, 8, 32)
GPU_STREAMS = (1, 8, 32, 128, 256)
REPORTED = (1, 8)
RATES = (90.0, 95.0, 105.0, 130.0)
"""Tokens a second; 82.03 is real time."""
LENGTHS = range(1, 51)
ROUNDS = 5
UPSTREAM_FRAMES = 4

FULL_SIZE = {"encoder_dim": 48, "decoder_dim": 1024}
"""How snac_24khz's config.json differs from nano's; its speed does not depend on its weights."""


def run() -> Result:
    """Keys: see the module; `codec_speedup_N` is upstream's ms a frame over ours, N streams."""
    base = models.locate("nano")
    codec = Codec(base.codec_path, is_silent=True)
    codes = spoken_codes(base)
    line = {"bench": "decode", "model": "nano", **_quality(codec, codes)}
    rows: list[dict[str, Any]] = []
    for name, sized in (("nano", codec), ("24 kHz", full_size(base.codec_path))):
        for streams in STREAMS if default_device() == "cpu" else GPU_STREAMS:
            upstream_s, ours_s = _seconds_a_frame(sized, codes, streams)
            rows.append(
                {
                    "codec": name,
                    "streams": streams,
                    "upstream_ms_per_frame": round(1000 * upstream_s, 2),
                    "ours_ms_per_frame": round(1000 * ours_s, 2),
                    "speedup": round(upstream_s / ours_s, 2),
                }
            )
            if name == "nano" and streams in REPORTED:
                line[f"codec_speedup_{streams}"] = rows[-1]["speedup"]
    return Result(rows, line)


def spoken_codes(base: BaseModel) -> Codes:
    """What the first stock voice makes of a sentence, (frames, 7)."""

    async def speak() -> list[int]:
        engine = open_engine("hf", base)
        try:
            prompt = models.prompt_ids(
                base.tokenizer(), base.voices[0], TEXT, base.tags, base.language
            )
            request = Request(prompt, Sampling(), max_frames(MAX_SECONDS), seed=0)
            async with aclosing(engine.generate(request)) as deltas:
                return [token async for delta in deltas for token in delta.tokens]
        finally:
            await engine.close()

    return tokens.tokens_to_codes(asyncio.run(speak()))


def full_size(small: Path) -> Codec:
    """A codec of snac_24khz's size, in random weights; `small` is nano's."""
    import torch
    from safetensors.torch import save
    from snac import SNAC

    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        size = disk.read_json(small / "config.json", "fetch the base model again") | FULL_SIZE
        weights = {k: v.contiguous() for k, v in SNAC(**size).state_dict().items()}
        (Path(folder) / "model.safetensors").write_bytes(save(weights))
        (Path(folder) / "config.json").write_text(json.dumps(size), encoding="utf-8")
        return Codec(Path(folder), is_silent=True)


def upstream(ids: Sequence[int], decode: Callable[[Codes], Waveform]) -> Waveform:
    """What upstream's streaming makes of a stream."""
    span = UPSTREAM_FRAMES * tokens.FRAME
    parts = [np.zeros(0, np.float32)]
    for end in range(span, len(ids) + 1, tokens.FRAME):
        samples = decode(tokens.tokens_to_codes(ids[end - span : end]))
        parts.append(samples[FRAME_SAMPLES : 2 * FRAME_SAMPLES])
    return np.concatenate(parts)


def _quality(codec: Codec, codes: Codes) -> dict[str, Any]:
    """What is lost, how soon and how exact, at the shipped defaults."""
    ids = tokens.codes_to_tokens(codes)
    whole = codec.decode(codes)
    players = {rate: play(ids, rate, codec.decode_windows) for rate in RATES}
    ours_lost = upstream_lost = 0
    for frames in LENGTHS:
        short = ids[: frames * tokens.FRAME]
        heard = play(short, RATES[1], codec.decode_windows).samples
        ours_lost += frames - len(heard) // FRAME_SAMPLES
        upstream_lost += frames - len(upstream(short, codec.decode)) // FRAME_SAMPLES
    by_frame = frame_snr_db(players[RATES[1]], whole)
    return {
        "frames_lost": ours_lost,
        "upstream_frames_lost": upstream_lost,
        "tokens_before_first_sample": tokens_before_first_sample(ids, codec),
        "first_frame_snr_db": round(float(by_frame[0]), 1),
        "later_frames_snr_db": round(float(np.median(by_frame[1:])), 1),
        "underruns": sum(player.underruns for player in players.values()),
    }


def frame_snr_db(player: Player, whole: Waveform) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Of each frame heard, the error to the whole decode below the utterance's mean power, dB."""
    error = ((player.samples - whole) ** 2).reshape(-1, FRAME_SAMPLES).mean(axis=1)
    return np.asarray(10 * np.log10((whole**2).mean() / np.maximum(error, 1e-15)))


def tokens_before_first_sample(ids: Sequence[int], codec: Codec) -> int:
    """How many tokens of a stream have come when its first samples go out."""
    stream = StreamDecoder()
    for count, token in enumerate(ids, start=1):
        stream.push([token])
        if len(decoded(codec, stream)):
            return count
    raise AssertionError("the stream was never heard")


def _seconds_a_frame(codec: Codec, codes: Codes, streams: int) -> tuple[float, float]:
    """Upstream's and ours, for one frame of each of `streams` streams."""
    starts = np.arange(streams) % (len(codes) - FRAMES)
    windows = [
        Window(codes[at : at + FRAMES], LEFT_FRAMES, LATENTS * RIGHT_FRAMES) for at in starts
    ]
    four = [codes[at : at + UPSTREAM_FRAMES] for at in starts]

    def theirs() -> None:
        for one in four:
            codec.decode(one)

    best = best_of(ROUNDS, theirs, lambda: codec.decode_windows(windows))
    return best[0] / streams, best[1] / streams


def best_of(rounds: int, *candidates: Callable[[], object]) -> list[float]:
    """Shortest seconds of each candidate; they take turns, so that a busy machine is fair."""
    best = [float("inf")] * len(candidates)
    for candidate in candidates:
        candidate()  # the first call is slow
    for _ in range(rounds):
        for i, candidate in enumerate(candidates):
            began = time.perf_counter()
            candidate()
            best[i] = min(best[i], time.perf_counter() - began)
    return best
