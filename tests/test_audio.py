import socket
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from orpheus_clone import audio
from orpheus_clone.errors import AudioError
from tests.conftest import DATA_SAMPLES
from tests.signals import joined, noise, tone, zeros

SECOND = 24_000
CLIP = "clip.wav"
SPEECH: audio.Waveform = soundfile.read(DATA_SAMPLES / "001.flac", dtype="float32")[0]


def write_with_ffmpeg(
    path: Path, codec: str, rate: int, seconds: float = 1.0, flags: str = ""
) -> None:
    """A 200 Hz tone through PyAV, as a phone or a browser would write it."""
    samples = np.sin(2 * np.pi * 200 * np.arange(round(rate * seconds)) / rate) * 0.1
    with av.open(str(path), "w", options={"movflags": flags} if flags else {}) as container:
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None], "fltp", "mono")
        frame.rate = rate
        resampler = av.AudioResampler(
            format=stream.codec_context.format,
            layout="mono",
            rate=rate,
            frame_size=stream.codec_context.frame_size or 1024,
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("wav", "PCM_16"), ("flac", "PCM_24"), ("aiff", None)]
)
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
def test_lossless_files_of_any_rate_have_the_right_length_and_level(
    tmp_path: Path, suffix: str, subtype: str | None, rate: int
) -> None:
    seconds = np.arange(rate) / rate
    path = tmp_path / f"clip.{suffix}"
    soundfile.write(path, 0.1 * np.sin(2 * np.pi * 200 * seconds), rate, subtype=subtype)
    samples = audio.read(path)
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(SECOND, abs=1)
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.1 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize("suffix", ["ogg", "mp3"])
def test_lossy_files_that_libsndfile_reads(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    soundfile.write(path, tone(1000), SECOND)
    samples = audio.read(path)
    assert len(samples) == pytest.approx(SECOND, abs=2400)
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("clip.m4a", "aac", 44100),
        ("clip.webm", "libopus", 48000),
        ("clip.mp4", "aac", 24000),
        ("clip.aac", "aac", 44100),
        ("clip.mkv", "libopus", 16000),
        ("clip.mov", "pcm_s24le", 96000),
        ("clip.wma", "wmav2", 44100),
        ("clip.avi", "pcm_u8", 22050),
        ("clip.mpg", "mp2", 48000),
        ("clip.ts", "aac", 48000),
        ("clip.oga", "libopus", 48000),
        ("clip.wv", "wavpack", 44100),
        ("clip.tta", "tta", 44100),
        ("clip.ac3", "ac3", 48000),
        ("clip.3gp", "aac", 16000),
        ("clip: a.mka", "alac", 44100),
    ],
)
def test_what_phones_and_browsers_record(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    path = tmp_path / name
    write_with_ffmpeg(path, codec, rate)
    samples = audio.read(path)
    assert len(samples) == pytest.approx(SECOND, abs=2400)
    assert np.sqrt(np.mean(samples[6000:18000] ** 2)) == pytest.approx(0.1 / np.sqrt(2), rel=0.1)


def test_a_telephone_stream_without_a_container(tmp_path: Path) -> None:
    path = tmp_path / "clip.g722"
    write_with_ffmpeg(path, "g722", 16000)
    assert len(audio.read(path)) == pytest.approx(SECOND, abs=1000)


@pytest.mark.parametrize("seconds", [1, 2, 45])
@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100])
def test_blocks_joined_are_the_recording(tmp_path: Path, seconds: int, rate: int) -> None:
    """45 s of stereo are more than is held between the passes."""
    left = np.tile(SPEECH, 20)[: rate * seconds]
    soundfile.write(tmp_path / CLIP, np.stack([left, -left], axis=1), rate)
    blocks = list(audio.blocks(tmp_path / CLIP))
    assert max(map(len, blocks)) <= 2 * SECOND
    joined_blocks = np.concatenate(blocks)
    assert np.array_equal(joined_blocks, audio.read(tmp_path / CLIP))
    expected = soxr.resample(left, rate, SECOND)
    assert len(joined_blocks) == len(expected)
    assert np.abs(joined_blocks - expected).max() < 1e-4


def test_a_recording_over_full_scale_is_scaled_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    loud = tone(500, dbfs=6)
    soundfile.write(path, loud, SECOND, subtype="FLOAT")
    samples = audio.read(path)
    assert 0.999 < np.abs(samples).max() <= 1.0
    assert samples / np.abs(samples).max() == pytest.approx(loud / np.abs(loud).max(), abs=1e-5)
    audio.pcm16(samples)


def test_a_quiet_recording_keeps_its_level(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    quiet = tone(500, dbfs=-40)
    soundfile.write(path, quiet, SECOND, subtype="FLOAT")
    assert np.array_equal(audio.read(path), quiet)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"clip\.wav: no such file"):
        audio.read(tmp_path / "clip.wav")
    with pytest.raises(AudioError, match="no such file"):
        audio.read(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(b"")
    with pytest.raises(AudioError, match=r"clip\.wav: the file is empty"):
        audio.read(path)


def test_a_file_of_no_samples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, zeros(0), SECOND)
    with pytest.raises(AudioError, match=r"clip\.wav: holds no audio samples"):
        audio.read(path)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "m4a", "ogg", "raw", "txt"])
def test_a_text_file_is_not_audio_whatever_its_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    path.write_text("This is not audio.\n" * 3, encoding="utf-8")
    with pytest.raises(AudioError, match=rf"clip\.{suffix}: "):
        audio.read(path)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.8])
@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "mp3", "m4a", "aac"])
def test_a_part_of_a_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"clip.{suffix}"
    if suffix in ("m4a", "aac"):
        write_with_ffmpeg(path, "aac", 44100, seconds=6)
    else:
        soundfile.write(path, SPEECH, SECOND)
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * share)])
    with pytest.raises(AudioError, match=rf"clip\.{suffix}: .*(broken off|not audio)"):
        audio.read(path)


def test_a_part_of_a_download_is_refused(tmp_path: Path) -> None:
    """Its table of contents comes first and tells how long it should be."""
    path = tmp_path / "clip.m4a"
    write_with_ffmpeg(path, "aac", 44100, seconds=6, flags="faststart")
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(path)) as container:
        packets = [p.pos + p.size for p in container.demux(audio=0) if p.pos and p.size]
    path.write_bytes(content[: packets[len(packets) // 2]])  # FFmpeg sees nothing wrong with it
    with pytest.raises(AudioError, match=r"clip\.m4a: announces 6.0 s .* holds 3.0 s .*broken off"):
        audio.read(path)


def test_a_stream_whose_rate_changes_is_refused(tmp_path: Path) -> None:
    first, second, both = (tmp_path / f"{name}.aac" for name in ("first", "second", "both"))
    write_with_ffmpeg(first, "aac", 44100)
    write_with_ffmpeg(second, "aac", 22050)
    both.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(AudioError, match=r"both\.aac: changes at 1\.\d s .* to 1 at 22050"):
        audio.read(both)


def test_an_ogg_stream_that_was_broken_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "clip.ogg"
    write_with_ffmpeg(path, "libopus", 48_000, seconds=6)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert len(audio.read(path)) == pytest.approx(3 * SECOND, rel=0.4)


def test_a_wav_from_a_pipe_does_not_know_its_length(tmp_path: Path) -> None:
    path = tmp_path / CLIP
    soundfile.write(path, SPEECH, SECOND)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(content))
    assert len(audio.read(path)) == len(SPEECH)


def test_a_playlist_makes_ffmpeg_fetch_nothing(tmp_path: Path) -> None:
    path = tmp_path / "clip.m4a"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        path.write_text(
            f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{address}\n#EXT-X-ENDLIST\n",
            encoding="utf-8",
        )
        with pytest.raises(AudioError, match=r"clip\.m4a: is not audio"):
            audio.read(path)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers_are_refused(tmp_path: Path, value: float) -> None:
    samples = tone(500)
    samples[100] = value
    soundfile.write(tmp_path / "clip.wav", samples, SECOND, subtype="FLOAT")
    with pytest.raises(AudioError, match="samples that are not numbers"):
        audio.read(tmp_path / "clip.wav")
    with pytest.raises(AudioError, match="not numbers"):
        audio.pcm16(samples)


def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        black = np.zeros((32, 32, 3), np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(black, format="rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match=r"film\.mp4: has no audio track"):
        audio.read(path)


def test_pcm16_of_the_edges_by_hand() -> None:
    samples = np.array([0.0, 1.0, -1.0, 0.5], np.float32)
    assert audio.pcm16(samples) == b"\x00\x00" + b"\xff\x7f" + b"\x01\x80" + b"\x00\x40"
    assert audio.pcm16(zeros(0)) == b""


@pytest.mark.parametrize("value", [1.0001, -1.0001, 40.0])
def test_samples_beyond_full_scale_are_refused_and_not_clipped(value: float) -> None:
    with pytest.raises(AudioError, match="beyond full scale"):
        audio.pcm16(np.array([0.0, value], np.float32))


@given(arrays.arrays(np.float32, st.integers(0, 200), elements=st.floats(-1, 1, width=32)))
def test_pcm16_is_two_bytes_a_sample_and_close(samples: audio.Waveform) -> None:
    again = np.frombuffer(audio.pcm16(samples), "<i2") / 32767
    assert again == pytest.approx(samples, abs=0.6 / 32767)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_what_is_written_reads_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "deep" / f"clip.{suffix}"
    samples = joined(noise(100), tone(300))
    audio.write(path, samples)
    assert soundfile.info(path).samplerate == SECOND
    assert soundfile.info(path).channels == 1
    assert audio.read(path) == pytest.approx(samples, abs=1e-4)
