"""What is done to recordings is what the label says."""

from collections.abc import Callable

import damage
import numpy as np
import pytest
from damage import Damaged
from numpy.random import Generator

from orpheus_clone import silence
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import NoSpeechError
from orpheus_clone.quality import zero_samples
from orpheus_clone.tokens import SAMPLE_RATE
from tests.signals import joined, noise, tone, zeros

Damage = Callable[[Waveform, Generator], Damaged]
ALL: list[Damage] = [
    damage.white_noise,
    damage.fan_noise,
    damage.music,
    damage.telephone,
    damage.clipped,
    damage.opposite_polarity,
    damage.one_channel,
    damage.head_600ms,
    damage.head_3s,
    damage.only_silence,
    damage.gated,
    damage.dc_offset,
    damage.hum,
]
SEEDS = range(4)


def rng(seed: int = 0) -> Generator:
    return np.random.default_rng(seed)


def rms_db(sound: Waveform) -> float:
    return float(10 * np.log10(np.mean(sound.astype(np.float64) ** 2)))


def high_share(sound: Waveform, hertz: float) -> float:
    """Share of the power above `hertz`."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    at = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    return float(power[at > hertz].sum() / power.sum())


@pytest.mark.parametrize("do", ALL)
def test_equal_seeds_do_equal_damage_within_full_scale(do: Damage, speech: Waveform) -> None:
    one, same, other = do(speech, rng(1)), do(speech, rng(1)), do(speech, rng(2))
    assert np.array_equal(one.samples, same.samples)
    assert one.amounts == same.amounts
    assert one.samples.shape != other.samples.shape or not np.array_equal(
        one.samples, other.samples
    )
    assert np.abs(one.samples).max() <= 1
    assert one.samples.dtype == np.float32


def test_the_level_of_speech_does_not_count_pauses() -> None:
    with_pauses = joined(tone(1000, -20), zeros(3000), tone(1000, -20), noise(2000, -60))
    assert damage.speech_dbfs(with_pauses) == pytest.approx(-20, abs=0.3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("do", [damage.white_noise, damage.fan_noise, damage.music])
def test_a_background_is_as_far_under_the_speech_as_it_says(
    do: Damage, seed: int, speech: Waveform
) -> None:
    quiet = speech * np.float32(0.1)  # so that nothing needs to be turned down
    damaged = do(quiet, rng(seed))
    below_db = damage.speech_dbfs(quiet) - rms_db(damaged.samples - quiet)
    assert below_db == pytest.approx(damaged.amounts["snr_db"], abs=0.05)
    assert 0 <= below_db <= 10


@pytest.mark.parametrize("seed", SEEDS)
def test_a_telephone_leaves_nothing_above_four_kilohertz(seed: int, speech: Waveform) -> None:
    damaged = damage.telephone(speech, rng(seed))
    assert high_share(speech, 4200) > 1e-4
    assert high_share(damaged.samples, 4200) < 1e-6
    assert len(damaged.samples) == len(speech)


def test_what_is_clipped_is_flat_below_full_scale(speech: Waveform) -> None:
    damaged = damage.clipped(speech, rng())
    peak = np.abs(damaged.samples).max()
    flat = float(np.mean(np.abs(damaged.samples) >= peak * 0.9999))
    assert flat == pytest.approx(damaged.amounts["share"], rel=0.05)
    assert peak == pytest.approx(damaged.amounts["gain"], rel=1e-4)


def test_opposite_channels_cancel_in_their_mean_but_not_alone(speech: Waveform) -> None:
    both = damage.opposite_polarity(speech, rng()).samples
    assert rms_db(both.mean(axis=1)) < -70
    assert rms_db(both[:, 0]) == pytest.approx(rms_db(both[:, 1]), abs=0.1)
    assert rms_db(both[:, 0]) > -40


def test_one_channel_speaks_and_the_other_does_not(speech: Waveform) -> None:
    sides = set()
    for seed in range(8):
        both = damage.one_channel(speech, rng(seed)).samples
        levels = [10 ** (rms_db(np.append(both[:, n], 1e-6)) / 20) for n in (0, 1)]
        assert min(levels) < 0.002 < 0.01 < max(levels)
        sides.add(int(np.argmax(levels)))
    assert sides == {0, 1}


@pytest.mark.parametrize(("do", "ms"), [(damage.head_600ms, 600), (damage.head_3s, 3000)])
def test_a_head_is_as_long_as_it_says_and_is_no_digital_silence(
    do: Damage, ms: int, speech: Waveform
) -> None:
    onset = round(silence.speech_span(speech, SAMPLE_RATE).onset_ms * SAMPLE_RATE / 1000)
    longer = do(speech[onset - 1200 :], rng()).samples
    assert silence.speech_span(longer, SAMPLE_RATE).head_ms == pytest.approx(ms, abs=40)
    assert zero_samples(longer[: ms * SAMPLE_RATE // 1000]) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_speaks_in_silence(seed: int, speech: Waveform) -> None:
    with pytest.raises(NoSpeechError):
        silence.speech_span(damage.only_silence(speech, rng(seed)).samples, SAMPLE_RATE)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gate_leaves_holes_of_zeros_between_words(seed: int, speech: Waveform) -> None:
    gated = damage.gated(speech, rng(seed)).samples
    span = silence.speech_span(gated, SAMPLE_RATE)
    spoken = gated[int(span.onset_ms * 24) : int(span.offset_ms * 24)]
    assert zero_samples(spoken) > 0.2 * SAMPLE_RATE
    assert len(gated) >= len(speech) + 2 * 0.12 * SAMPLE_RATE


def test_an_offset_is_the_mean(speech: Waveform) -> None:
    damaged = damage.dc_offset(speech, rng())
    assert float(damaged.samples.mean()) == pytest.approx(damaged.amounts["offset"], abs=2e-3)


def test_hum_lies_on_the_mains_and_under_the_speech(speech: Waveform) -> None:
    quiet = speech * np.float32(0.5)
    damaged = damage.hum(quiet, rng())
    added = damaged.samples - quiet
    below = damage.speech_dbfs(quiet) - rms_db(added)
    assert below == pytest.approx(damaged.amounts["below_db"], abs=0.05)
    loudest_hz = np.fft.rfftfreq(len(added), 1 / SAMPLE_RATE)[np.argmax(np.abs(np.fft.rfft(added)))]
    assert loudest_hz == pytest.approx(damaged.amounts["mains_hz"], abs=0.5)


def test_two_joined_speak_one_after_the_other_at_one_level(speech: Waveform) -> None:
    quiet = speech[: 3 * SAMPLE_RATE] * np.float32(0.2)
    whole = damage.joined(speech, quiet, rng()).samples
    assert len(speech) + len(quiet) < len(whole) < len(speech) + len(quiet) + 0.5 * SAMPLE_RATE
    first, second = (
        damage.speech_dbfs(whole[: len(speech)]),
        damage.speech_dbfs(whole[-len(quiet) :]),
    )
    assert first == pytest.approx(second, abs=0.1)


def test_who_overlaps_speaks_to_the_end_however_short_the_clip(speech: Waveform) -> None:
    other = speech[SAMPLE_RATE : 2 * SAMPLE_RATE]
    quiet = speech * np.float32(0.3)
    for seed in SEEDS:
        damaged = damage.overlapped(quiet, other, rng(seed))
        touched = np.flatnonzero(np.abs(damaged.samples - quiet) > 1e-4)
        assert touched[0] <= 0.42 * len(speech)
        assert touched[-1] > 0.95 * len(speech)
        assert 0 <= damaged.amounts["below_db"] <= 6
