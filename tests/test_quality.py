import math
from dataclasses import asdict

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus_clone import quality
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import AudioError
from tests.conftest import DATA_SAMPLES
from tests.signals import joined, noise, tone, zeros

RATE = 24_000
CLIPS: list[Waveform] = [
    soundfile.read(DATA_SAMPLES / f"{number:03}.flac", dtype="float32")[0]
    for number in (1, 4, 9, 14)
]
SPEECH = CLIPS[0]


def noise_like(samples: Waveform, dbfs: float) -> Waveform:
    return noise(len(samples) * 1000 / RATE, dbfs, seed=3)[: len(samples)]


def speech_dbfs(samples: Waveform) -> float:
    """Level without the pauses: of the 10 ms within 25 dB of the loudest twentieth."""
    power = (samples[: len(samples) // 240 * 240].reshape(-1, 240) ** 2).mean(axis=1)
    return float(10 * np.log10(power[power > np.percentile(power, 95) / 316].mean()))


def at_rate(samples: Waveform, rate: int) -> Waveform:
    """Through `rate` and back, as an upsampled recording is."""
    there = soxr.resample(samples, RATE, rate)
    return np.asarray(soxr.resample(there, rate, RATE), np.float32)


def cut_off(samples: Waveform, over_db: float) -> Waveform:
    """As if recorded `over_db` too loud: peaks are flat."""
    ceiling = np.abs(samples).max() * 10 ** (-over_db / 20)
    return np.asarray(np.clip(samples, -ceiling, ceiling), np.float32)


def hum(samples: Waveform, hertz: float, dbfs: float) -> Waveform:
    seconds = np.arange(len(samples)) / RATE
    lines = sum(np.sin(2 * np.pi * hertz * k * seconds) / k for k in (1, 2, 3, 5, 7))
    level = 10 ** (dbfs / 20) / np.sqrt(np.mean(lines**2))
    return np.asarray(samples + lines * level, np.float32)


@pytest.mark.parametrize("clip", range(len(CLIPS)))
def test_clean_speech_has_nothing_wrong_with_it(clip: int) -> None:
    measured = quality.measure(CLIPS[clip])
    assert measured.snr_db > 40
    assert measured.clipped < 1e-4
    assert measured.bandwidth_hz > 9500
    assert measured.hum_db < 8
    assert abs(measured.dc) < 1e-3
    assert measured.zeros == 0
    assert -24 < measured.lufs < -17
    assert measured.music < 0.15
    assert measured.reverberation_s < 0.15
    assert measured.mos is None


@pytest.mark.parametrize("snr_db", [5, 10, 20, 30])
@pytest.mark.parametrize("clip", range(len(CLIPS)))
def test_the_snr_of_a_known_mix(clip: int, snr_db: int) -> None:
    speech = CLIPS[clip]
    mix = speech + noise_like(speech, speech_dbfs(speech) - snr_db)
    assert quality.snr_db(mix) == pytest.approx(snr_db, abs=2)


def test_muted_pauses_say_nothing_about_the_noise() -> None:
    noisy = SPEECH + noise_like(SPEECH, speech_dbfs(SPEECH) - 20)
    gated = joined(zeros(2000), noisy, zeros(2000))
    assert quality.snr_db(gated) == pytest.approx(quality.snr_db(noisy), abs=0.5)


def test_the_noise_under_the_speech_does_not_count_as_speech() -> None:
    """So near to the speech the pauses count as part of it: a fifth of them, so 5 - 1 dB."""
    mix = joined(zeros(200), tone(800, -20)) + noise(1000, -25)
    assert quality.snr_db(mix) == pytest.approx(4, abs=0.4)


def test_noise_alone_has_no_signal_over_it() -> None:
    assert quality.snr_db(noise(2000, -30)) < 1
    assert quality.snr_db(zeros(2000)) == 0


@pytest.mark.parametrize("clip", range(len(CLIPS)))
def test_what_was_cut_off_is_told_even_when_it_was_turned_down_or_resampled(clip: int) -> None:
    flat = cut_off(CLIPS[clip], 6)
    share = quality.clipped(flat)
    assert share > 0.002
    quiet = np.asarray(np.round(flat * 0.1 * 32767) / 32767, np.float32)
    assert quality.clipped(quiet) == pytest.approx(share, rel=0.2)
    assert quality.clipped(at_rate(cut_off(at_rate(CLIPS[clip], 48_000), 6), 32_000)) > 0.001


def test_more_clipping_is_a_greater_share() -> None:
    shares = [quality.clipped(cut_off(SPEECH, db)) for db in (0, 3, 6, 12, 20)]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] > 0.2


@pytest.mark.parametrize("hertz", [110, 220, 440])
def test_a_steady_vowel_is_not_clipped(hertz: float) -> None:
    """Its swings are all as high as each other, but round."""
    assert quality.clipped(tone(800, -10, hertz) + tone(800, -20, 3 * hertz)) < 1e-3
    assert quality.clipped(tone(800, -10, hertz)) == 0
    assert quality.clipped(cut_off(tone(800, -10, hertz), 6)) > 0.3


def test_a_ceiling_on_one_side_is_told() -> None:
    low = np.minimum(SPEECH, SPEECH.max() / 3).astype(np.float32)
    assert quality.clipped(low) > 0.002
    assert quality.clipped(-low) == quality.clipped(low)


@given(st.floats(0.01, 1))
@settings(max_examples=20, deadline=None)
def test_loudness_changes_nothing_but_loudness(gain: float) -> None:
    speech = SPEECH[:48_000]
    before, after = (
        quality.measure(np.asarray(speech * g, np.float32)) for g in (1.0, max(gain, 0.3))
    )
    change_db = 20 * math.log10(max(gain, 0.3))
    assert after.lufs == pytest.approx(before.lufs + change_db, abs=0.1)
    assert after.snr_db == pytest.approx(before.snr_db, abs=0.5)
    assert after.bandwidth_hz == before.bandwidth_hz


@pytest.mark.parametrize("via", [8_000, 11_025, 16_000])
@pytest.mark.parametrize("dither_dbfs", [-120, -90, -70])
@pytest.mark.parametrize("clip", range(len(CLIPS)))
def test_bandwidth_is_that_of_the_rate_it_once_had(clip: int, via: int, dither_dbfs: int) -> None:
    upsampled = at_rate(CLIPS[clip], via)
    upsampled += noise_like(upsampled, dither_dbfs)
    assert quality.bandwidth_hz(upsampled) == pytest.approx(via / 2, rel=0.06)


def test_a_spectrum_without_an_end_reaches_nyquist() -> None:
    assert quality.bandwidth_hz(noise(1000, -20)) == 12_000
    assert quality.bandwidth_hz(SPEECH + noise_like(SPEECH, -40)) == 12_000


def test_a_gap_in_the_spectrum_is_not_its_end() -> None:
    spectrum = np.fft.rfft(noise(1000, -20))
    spectrum[5000:6000] = 0
    assert quality.bandwidth_hz(np.fft.irfft(spectrum).astype(np.float32)) == 12_000
    spectrum[5000:] = 0
    ended = np.fft.irfft(spectrum).astype(np.float32)
    assert quality.bandwidth_hz(ended) == pytest.approx(5000, rel=0.08)


@pytest.mark.parametrize("mains", [50, 60, 59.97])
@pytest.mark.parametrize("clip", range(len(CLIPS)))
def test_mains_hum_stands_out(clip: int, mains: float) -> None:
    assert quality.hum_db(hum(CLIPS[clip], mains, -50)) > 15
    assert quality.hum_db(hum(CLIPS[clip], mains, -95)) < 8
    assert quality.hum_db(hum(CLIPS[clip], 56, -50)) < 15


def chords(samples: Waveform) -> Waveform:
    """A piano plays a chord a second: a minor triad that dies away, and another one."""
    seconds = np.arange(len(samples)) / RATE
    since, bar = seconds % 1.0, seconds.astype(int)
    roots = np.array([220.0, 174.6, 261.6, 196.0])[bar % 4]
    notes = sum(
        np.sin(2 * np.pi * roots * third * k * since) / k
        for third in (1, 1.189, 1.498)
        for k in (1, 2, 3, 4, 5)
    )
    played = notes * np.minimum(1, since / 0.01) * np.exp(-1.5 * since)
    return np.asarray(played / np.sqrt(np.mean(played**2)), np.float32)


def echoing(samples: Waveform, seconds: float, direct_db: float) -> Waveform:
    """In a room whose echo dies away by 60 dB in `seconds` and lies `direct_db` below the sound."""
    times = np.arange(round(RATE * seconds)) / RATE
    echo = np.random.default_rng(1).standard_normal(len(times)) * 10 ** (-3 * times / seconds)
    echo *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(echo**2))
    echo[0] = 1.0
    n = 2 ** math.ceil(math.log2(len(samples) + len(echo)))
    filtered = np.fft.irfft(np.fft.rfft(samples, n) * np.fft.rfft(echo, n))
    return filtered[: len(samples)].astype(np.float32)


@pytest.mark.parametrize("clip", range(len(CLIPS)))
def test_music_under_speech_is_told_from_noise_under_speech(clip: int) -> None:
    speech = CLIPS[clip]
    under = np.float32(10 ** ((speech_dbfs(speech) - 15) / 20))
    assert quality.music(speech + under * chords(speech)) > 0.25
    assert quality.music(speech + noise_like(speech, speech_dbfs(speech) - 15)) < 0.1
    assert quality.music(hum(speech, 50, -40)) < 0.15


def test_one_steady_vowel_of_a_short_clip_is_not_music() -> None:
    short = joined(noise(200, -70), tone(500, -20, 880), noise(200, -70))
    assert 0 < quality.music(short) < 0.25
    assert quality.music(tone(3000, -20, 880)) > 0.9


@pytest.mark.parametrize("clip", range(len(CLIPS)))
def test_an_echoing_room_lengthens_the_decay(clip: int) -> None:
    speech = CLIPS[clip]
    decays = [quality.reverberation_s(speech)]
    decays += [quality.reverberation_s(echoing(speech, s, db)) for s, db in ((0.3, 6), (0.6, 0))]
    assert decays == sorted(decays)
    assert decays[1] > 0.17
    assert decays[2] > 0.27


def test_dc_and_zeros_by_hand() -> None:
    measured = quality.measure(joined(tone(300) + np.float32(0.25), zeros(100)))
    assert measured.dc == pytest.approx(0.25 * 3 / 4, abs=1e-3)
    assert measured.zeros == pytest.approx(1 / 4, abs=1e-3)


def test_zeros_count_from_5_ms_on() -> None:
    def after(run: int) -> int:
        loud = tone(10) + np.float32(0.5)
        return quality.zero_samples(joined(loud, np.zeros(run, np.float32), loud))

    assert [after(run) for run in (0, 1, 119, 120, 121)] == [0, 0, 0, 120, 121]
    assert quality.zero_samples(zeros(100)) == 2400
    assert quality.zero_samples(zeros(0)) == 0


@pytest.mark.parametrize("ms", [100, 399, 400, 2000])
def test_a_sine_of_1_khz_is_as_loud_as_its_level(ms: float) -> None:
    """BS.1770: the weighting of 997 Hz and the constant -0.691 cancel."""
    assert quality.lufs(tone(ms, -20, 1000)) == pytest.approx(-20, abs=0.1)


def test_silence_is_measured_and_nothing_refuses_it() -> None:
    measured = quality.measure(zeros(1000))
    assert measured.lufs == -math.inf
    assert (measured.zeros, measured.clipped, measured.dc, measured.snr_db) == (1, 0, 0, 0)


@pytest.mark.parametrize("samples", [1, 10, 239, 512])
def test_the_shortest_clips_are_measured(samples: int) -> None:
    measured = asdict(quality.measure(SPEECH[24_000 : 24_000 + samples]))
    assert all(value is None or math.isfinite(value) for value in measured.values())


def test_no_samples_cannot_be_measured() -> None:
    with pytest.raises(AudioError, match="without samples"):
        quality.measure(zeros(0))


def test_a_judge_of_the_sound_is_asked_if_there_is_one() -> None:
    class Fixed:
        digest = "fixed"

        def __call__(self, samples: Waveform) -> float:
            return float(len(samples))

    assert quality.measure(SPEECH, Fixed()).mos == len(SPEECH)
