"""Tokens come in any pieces at any pace; samples go out early, in time, and none is lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus_clone import tokens
from orpheus_clone.audio import Waveform
from orpheus_clone.bench.playing import play
from orpheus_clone.codec.snac import Codec
from orpheus_clone.codec.stream import StreamDecoder, decoded
from orpheus_clone.codec.window import JOIN
from orpheus_clone.errors import TokenError
from orpheus_clone.player import Player
from orpheus_clone.tokens import FRAME_SAMPLES, SAMPLE_RATE, Codes
from tests.codec.test_window import snr_db, some_codes


def played(codec: Codec, codes: Codes, rate: float) -> Player:
    """A stream of `rate` tokens a second through the shipped default."""
    return play(tokens.codes_to_tokens(codes), rate, codec.decode_windows)


def streamed(codec: Codec, ids: list[int], sizes: list[int], stream: StreamDecoder) -> Waveform:
    """`ids` in pieces of the given sizes, over and over."""
    parts, at, turn = [], 0, 0
    while at < len(ids):
        size = sizes[turn % len(sizes)]
        stream.push(ids[at : at + size])
        parts.append(decoded(codec, stream))
        at, turn = at + size, turn + 1
    stream.finish()
    return np.concatenate([*parts, decoded(codec, stream)])


@settings(deadline=None, max_examples=30)
@given(
    frames=st.integers(1, 12),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    is_exact=st.booleans(),
)
def test_samples_out_are_frames_times_2048_for_any_chunking(
    codec: Codec, frames: int, sizes: list[int], is_exact: bool
) -> None:
    ids = tokens.codes_to_tokens(some_codes(frames))
    stream = StreamDecoder(is_exact=is_exact)
    assert len(streamed(codec, ids, sizes, stream)) == frames * FRAME_SAMPLES


@settings(deadline=None, max_examples=30)
@given(frames=st.integers(1, 12), sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5))
def test_with_3_frames_of_look_ahead_the_stream_equals_the_whole(
    codec: Codec, frames: int, sizes: list[int]
) -> None:
    codes = some_codes(frames, seed=frames)
    ids = tokens.codes_to_tokens(codes)
    stream = streamed(codec, ids, sizes, StreamDecoder(is_exact=True))
    assert np.abs(stream - codec.decode(codes)).max() < 1e-5


def test_the_first_frame_is_heard_after_seven_tokens(codec: Codec) -> None:
    ids = tokens.codes_to_tokens(some_codes(2))
    stream = StreamDecoder()
    stream.push(ids[:6])
    assert len(decoded(codec, stream)) == 0
    stream.push(ids[6:7])
    assert len(decoded(codec, stream)) == FRAME_SAMPLES - JOIN


@pytest.mark.parametrize("rate", [90.0, 95.0, 105.0, 130.0])
def test_a_listener_never_runs_out_and_hears_every_sample(codec: Codec, rate: float) -> None:
    player = played(codec, some_codes(60), rate)
    assert player.underruns == 0
    assert len(player.samples) == 60 * FRAME_SAMPLES


def test_what_the_buffer_pays_for_is_exact(codec: Codec) -> None:
    codes = some_codes(60)
    player, whole = played(codec, codes, 130.0), codec.decode(codes)
    half = 30 * FRAME_SAMPLES
    assert snr_db(player.samples[half:], whole[half:]) > 80
    assert snr_db(player.samples[:half], whole[:half]) > 20


def test_a_pause_in_the_tokens_does_not_keep_known_frames_back(codec: Codec) -> None:
    now = 0.0
    stream = StreamDecoder(clock=lambda: now)
    stream.push(tokens.codes_to_tokens(some_codes(6)))
    early = decoded(codec, stream)
    wait = stream.wait_s()
    assert wait is not None
    assert 0 < wait < len(early) / SAMPLE_RATE  # before the listener has played what went out
    heard = len(early)
    while (wait := stream.wait_s()) is not None:
        now += wait
        heard += len(decoded(codec, stream))
    assert heard == 6 * FRAME_SAMPLES - JOIN


def test_utterances_one_after_the_other_are_one_sound(codec: Codec) -> None:
    codes = some_codes(8)
    ids = tokens.codes_to_tokens(codes)
    stream = StreamDecoder()
    parts = []
    for utterance in (ids[:21], ids[21:28], ids[28:]):
        stream.begin()
        stream.push(utterance)
        stream.pause()
        parts.append(decoded(codec, stream))
        assert stream.wait_s() is None
    stream.finish()
    parts.append(decoded(codec, stream))
    assert [len(part) for part in parts] == [3 * 2048 - JOIN, 2048, 4 * 2048, JOIN]
    heard, whole = np.concatenate(parts), codec.decode(codes)
    assert snr_db(heard[:4096], whole[:4096]) > 15
    assert snr_db(heard[-4096:], whole[-4096:]) > 60


def test_a_listener_who_ran_out_hears_the_next_frame_at_once(codec: Codec) -> None:
    now = 0.0
    stream = StreamDecoder(clock=lambda: now)
    ids = tokens.codes_to_tokens(some_codes(4))
    stream.push(ids[:14])
    decoded(codec, stream)
    now += 5.0
    stream.push(ids[14:21])
    assert len(decoded(codec, stream)) == 2 * FRAME_SAMPLES


def test_a_wait_between_utterances_is_not_taken_for_slow_tokens(codec: Codec) -> None:
    """Else the frames of the next would no longer wait for those after them."""
    now = 0.0
    stream = StreamDecoder(clock=lambda: now)
    ids = tokens.codes_to_tokens(some_codes(8))
    for start, ready_at in ((0, 0.0), (28, 60.0)):
        stream.begin()
        for at in range(start, start + 28, 7):
            now = ready_at + (at - start) / 7 * 0.04
            stream.push(ids[at : at + 7])
            decoded(codec, stream)
        assert (stream.wait_s() or 0) > 0
        stream.pause()
        decoded(codec, stream)


class Doors:
    """A trim that drops the first `shut` samples, to the sample."""

    def __init__(self, shut: int) -> None:
        self.shut = shut

    def push(self, samples: Waveform) -> Waveform:
        dropped = min(self.shut, len(samples))
        self.shut -= dropped
        return samples[dropped:]

    def finish(self) -> Waveform:
        return np.zeros(0, np.float32)


@pytest.mark.parametrize("rate", [90.0, 130.0])
def test_what_is_dropped_is_not_waited_for_and_the_rest_is_in_time(
    codec: Codec, rate: float
) -> None:
    codes = some_codes(30)
    ids = tokens.codes_to_tokens(codes)
    player = Player()
    stream = StreamDecoder(clock=lambda: player.now)
    stream.begin(Doors(5 * FRAME_SAMPLES))  # type: ignore[arg-type]  # as HeadTrim does it
    began = None
    for i, token in enumerate(ids):
        while (wait := stream.wait_s()) is not None and player.now + wait < (i + 1) / rate:
            player.now += wait
            player.take(decoded(codec, stream))
        player.now = (i + 1) / rate
        stream.push([token])
        player.take(decoded(codec, stream))
        began = began or (i + 1 if player.heard else None)
    stream.finish()
    player.take(decoded(codec, stream))
    assert began == 6 * 7
    assert player.underruns == 0
    assert len(player.samples) == 25 * FRAME_SAMPLES
    assert snr_db(player.samples[-8192:], codec.decode(codes)[-8192:]) > 15


def test_no_join_clicks(codec: Codec) -> None:
    """Steps at the joins are no larger than the steps beside them, over 100 streams."""
    at_joins, beside = [], []
    for seed in range(100):
        heard = played(codec, some_codes(5, seed), 95.0).samples
        steps = np.abs(np.diff(heard))
        for join in range(FRAME_SAMPLES, len(heard), FRAME_SAMPLES):
            at_joins.append(steps[join - JOIN - 2 : join + 2].max())
            beside.append(np.percentile(steps[join - 1000 : join + 1000], 99.5))
    assert np.mean(np.array(at_joins) > 2 * np.array(beside)) < 0.01


def test_an_utterance_of_one_frame_is_heard_whole(codec: Codec) -> None:
    codes = some_codes(1)
    heard = streamed(codec, tokens.codes_to_tokens(codes), [7], StreamDecoder())
    assert np.abs(heard - codec.decode(codes)).max() < 1e-5


def test_a_stream_of_nothing_is_no_samples(codec: Codec) -> None:
    stream = StreamDecoder()
    stream.finish()
    assert len(decoded(codec, stream)) == 0
    assert stream.wait_s() is None


@pytest.mark.parametrize("left_over", range(1, 7))
def test_a_stream_that_ends_inside_a_frame_is_an_error(left_over: int) -> None:
    stream = StreamDecoder()
    stream.push(tokens.codes_to_tokens(some_codes(2))[: 7 + left_over])
    with pytest.raises(TokenError, match=f"{left_over} left over"):
        stream.finish()


def test_a_token_in_the_wrong_slot_is_an_error_at_once() -> None:
    ids = tokens.codes_to_tokens(some_codes(2))
    with pytest.raises(TokenError, match="outside the range of slot 0"):
        StreamDecoder().push(ids[1:8])


def test_two_streams_do_not_hear_each_other(codec: Codec) -> None:
    one, two = (tokens.codes_to_tokens(some_codes(6, seed)) for seed in (1, 2))
    alone = streamed(codec, one, [7], StreamDecoder(is_exact=True))
    a, b = StreamDecoder(is_exact=True), StreamDecoder(is_exact=True)
    parts = []
    for at in range(0, 42, 7):
        a.push(one[at : at + 7])
        b.push(two[at : at + 7])
        parts.append(decoded(codec, a))
        decoded(codec, b)
    a.finish()
    assert np.allclose(np.concatenate([*parts, decoded(codec, a)]), alone, atol=1e-6)
