"""A window's samples are the whole decode's, wherever in a stream it lies."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orpheus_clone.audio import Waveform
from orpheus_clone.codec.snac import Codec
from orpheus_clone.codec.window import (
    FRAMES,
    JOIN,
    LATENTS,
    LEFT_FRAMES,
    RIGHT_FRAMES,
    Window,
    _flat,
)
from orpheus_clone.models import BaseModel
from orpheus_clone.tokens import FRAME_SAMPLES, Codes


def some_codes(frames: int, seed: int = 0) -> Codes:
    return np.random.default_rng(seed).integers(0, 4096, (frames, 7))


def window(codes: Codes, frame: int, after: int = RIGHT_FRAMES) -> Window:
    """The window around a frame and `after` frames; what is unknown must not be heard."""
    before, after = min(LEFT_FRAMES, frame), min(after, len(codes) - frame - 1)
    held = np.full((FRAMES, 7), 4095)
    held[LEFT_FRAMES - before : LEFT_FRAMES + 1 + after] = codes[frame - before : frame + 1 + after]
    return Window(held, before, after * LATENTS)


def snr_db(heard: Waveform, wanted: Waveform) -> float:
    return float(10 * np.log10((wanted**2).mean() / ((heard - wanted) ** 2).mean()))


@pytest.mark.parametrize("frames", range(1, 10))
def test_every_frame_of_a_stream_is_that_of_the_whole(codec: Codec, frames: int) -> None:
    codes = some_codes(frames, seed=frames)
    whole = codec.decode(codes)
    decoded = codec.decode_windows([window(codes, i) for i in range(frames)])
    for i, samples in enumerate(decoded):
        start = i * FRAME_SAMPLES
        assert np.abs(samples[JOIN:] - whole[start : start + FRAME_SAMPLES]).max() < 1e-5
        if i:
            assert np.abs(samples[:JOIN] - whole[start - JOIN : start]).max() < 1e-5


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 8), st.integers(0, 3)), min_size=1))
def test_a_batch_of_any_windows_is_each_alone(
    codec: Codec, about: list[tuple[int, int, int]]
) -> None:
    windows = [
        window(some_codes(frames, seed), min(seed, frames - 1), after)
        for frames, seed, after in about
    ]
    alone = [codec.decode_windows([one])[0] for one in windows]
    for one, together in zip(alone, codec.decode_windows(windows), strict=True):
        assert np.abs(one - together).max() < 1e-5


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_window_that_does_not_know_more_is_as_if_the_stream_ended(
    codec: Codec, after: int
) -> None:
    codes = some_codes(8)
    (samples,) = codec.decode_windows([window(codes, 4, after)])
    ended = codec.decode(codes[: 4 + 1 + after])
    start = 4 * FRAME_SAMPLES
    assert np.abs(samples - ended[start - JOIN : start + FRAME_SAMPLES]).max() < 1e-5


def test_the_further_it_sees_the_nearer_it_is(codec: Codec) -> None:
    codes = some_codes(12)
    whole = codec.decode(codes)[5 * FRAME_SAMPLES : 6 * FRAME_SAMPLES]
    decoded = codec.decode_windows([window(codes, 5, after) for after in range(4)])
    near = [snr_db(samples[JOIN:], whole) for samples in decoded]
    assert near == sorted(near)
    assert near[0] > 10
    assert near[1] > 40
    assert near[3] > 100


def test_the_costly_layers_compute_each_sample_nearly_once(codec: Codec) -> None:
    for layer in codec._windows._layers:
        positions, wanted = layer.last - layer.first, 4 * layer.rate
        if layer.rate >= 256:
            assert positions < 1.2 * wanted
        elif layer.rate >= 64:
            assert positions < 1.6 * wanted


def test_a_layer_that_is_not_the_decoders_is_refused() -> None:
    with pytest.raises(TypeError, match="LSTM is no layer"):
        _flat(nn.Sequential(nn.Conv1d(1, 1, 7), nn.LSTM(1, 1)))


def test_nothing_is_learnt_while_decoding(codec: Codec) -> None:
    assert not codec._windows([window(some_codes(2), 0)]).requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("count", [1, 3, 64, 100])
def test_a_replayed_graph_says_what_the_cpu_says(base: BaseModel, count: int) -> None:
    windows = [window(some_codes(9, seed), seed % 9, seed % 4) for seed in range(count)]
    on_gpu = Codec(base.codec_path, "cuda", is_silent=True).decode_windows(windows)
    on_cpu = Codec(base.codec_path, "cpu", is_silent=True).decode_windows(windows)
    assert len(on_gpu) == count
    assert np.abs(np.array(on_gpu) - np.array(on_cpu)).max() < 1e-3
