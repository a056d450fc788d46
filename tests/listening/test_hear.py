"""Utterances heard by real judges: a speaker's own recordings, changed by a known amount."""

import numpy as np
import pytest
import soxr

from orpheus_clone import asr, audio, dnsmos, nano, speaker, text
from orpheus_clone.audio import Waveform
from orpheus_clone.codec.snac import Codec
from orpheus_clone.judges import Judges
from orpheus_clone.listening.figures import add_up
from orpheus_clone.listening.hear import Hearing, Listener, Spoken
from orpheus_clone.listening.reference import HeldOut, Reference, speech_s
from orpheus_clone.pitch import pitch_hz
from orpheus_clone.tokens import FRAME_SAMPLES, SAMPLE_RATE
from tests import judges
from tests.conftest import DATA_SAMPLES
from tests.signals import joined, noise, zeros

TEXTS = dict(
    line.split("|", 1)
    for line in (DATA_SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()
)
HELD = ("003", "004", "007", "008")
NAME, OTHER = "005", "009"
NANO_CODEC = nano.WEIGHTS / "codec"


def clip(name: str) -> Waveform:
    return audio.read(DATA_SAMPLES / f"{name}.flac")


def variants() -> dict[str, Spoken]:
    """What a voice might make of one text, each with one fault; and another clip of theirs."""
    own, said = clip(NAME), TEXTS[NAME]
    codec = Codec(NANO_CODEC, is_silent=True)
    higher = np.clip(soxr.resample(own, SAMPLE_RATE * 4 / 3, SAMPLE_RATE), -1, 1)
    loud = len(own) // 2 + int(np.abs(own[len(own) // 2 :][:SAMPLE_RATE]).argmax())
    half = own[:loud]
    return {
        "own": Spoken(said, own, "stop"),
        "another clip": Spoken(TEXTS[OTHER], clip(OTHER), "stop"),
        "half": Spoken(said, half, "stop"),
        "another throat": Spoken(said, higher.astype(np.float32), "stop"),
        "another text": Spoken(TEXTS[OTHER], own, "stop"),
        "late": Spoken(said, joined(noise(2000, -75), own), "stop"),
        "late, and trimmed": Spoken(said, own, "stop", dropped_ms=2000),
        "lingering": Spoken(said, joined(own, noise(1500, -75)), "stop"),
        "slow": Spoken(
            said, joined(own[: len(own) // 2], noise(2500, -75), own[len(own) // 2 :]), "stop"
        ),
        "mute": Spoken(said, zeros(2500), "silence"),
        "coded": Spoken(
            said,
            codec.decode(codec.encode(own[: len(own) // FRAME_SAMPLES * FRAME_SAMPLES])),
            "stop",
        ),
    }


@pytest.fixture(scope="module")
def listener() -> Listener:
    words = asr.load(str(judges.whisper_dir()))
    everyone = Judges(words, speaker.load(judges.ecapa_file()), dnsmos.load(), ())
    clips = tuple(HeldOut(name, TEXTS[name], clip(name)) for name in HELD)
    paces = [(speech_s(c.samples) or 0) / text.letters(c.text) for c in clips]
    pitches = [pitch_hz(c.samples) or 0 for c in clips]
    own = Reference(clips, "en", float(np.median(paces)), float(np.median(pitches)))
    return Listener(everyone, own)


@pytest.fixture(scope="module")
def heard(listener: Listener) -> dict[str, Hearing]:
    spoken = variants()
    return dict(zip(spoken, listener.hear(list(spoken.values())), strict=True))


def test_speakers_themselves_are_as_good_as_a_clone_can_be(
    listener: Listener, heard: dict[str, Hearing]
) -> None:
    found = add_up([heard["own"], heard["another clip"]], listener)
    assert (found.stop_rate.value, found.cut_rate.value) == (1.0, 0.0)
    assert found.wer.value is not None and found.wer.value <= 0.05
    assert found.coverage.value is not None and found.coverage.value >= 0.95
    assert found.similarity.value is not None and found.similarity.value > 0.8
    assert found.mos.value is not None and found.mos.value > 2.8
    assert found.pace.value == pytest.approx(1.0, abs=0.2)
    assert found.pitch_semitones.value == pytest.approx(0.0, abs=2.0)


def test_the_ceiling_is_each_held_out_clip_against_the_others(listener: Listener) -> None:
    ceiling = listener.ceiling()
    assert len(ceiling) == len(HELD)
    assert all(0.7 < similarity < 1 for similarity in ceiling)
    model = listener.judges.speaker
    assert model is not None
    first, *others = [model.embed(clip(name)) for name in HELD]
    mean = np.mean(others, axis=0)
    assert ceiling[0] == pytest.approx(float(first @ mean / np.linalg.norm(mean)), abs=1e-5)


def test_words_that_were_not_said_are_missed_and_the_cut_is_noticed(
    listener: Listener, heard: dict[str, Hearing]
) -> None:
    found = heard["half"].difference
    assert found is not None
    assert 0.3 < found.words_said / found.words < 0.7
    assert found.word_edits / found.words > 0.3
    assert add_up([heard["half"]], listener).cut_rate.value == 1.0
    assert heard["own"].tail_ms is not None and heard["own"].tail_ms > 100


def test_another_text_is_all_wrong(heard: dict[str, Hearing]) -> None:
    found = heard["another text"].difference
    assert found is not None
    assert found.word_edits / found.words > 0.8
    assert heard["another text"].similarity == heard["own"].similarity


def test_another_throat_is_heard_by_its_similarity_pitch_and_pace(
    listener: Listener, heard: dict[str, Hearing]
) -> None:
    own, other = heard["own"], heard["another throat"]
    assert own.similarity is not None and other.similarity is not None
    assert other.similarity < own.similarity - 0.3
    higher = add_up([other], listener).pitch_semitones.value
    lower = add_up([own], listener).pitch_semitones.value
    assert higher is not None and lower is not None
    assert higher - lower == pytest.approx(12 * np.log2(4 / 3), abs=0.5)
    assert own.pace is not None
    assert other.pace == pytest.approx(own.pace * 3 / 4, rel=0.05)


def test_silence_before_the_speech_counts_whether_it_is_heard_or_dropped(
    heard: dict[str, Hearing],
) -> None:
    own = heard["own"].head_ms
    assert own is not None
    assert heard["late"].head_ms == pytest.approx(own + 2000, abs=30)
    assert heard["late, and trimmed"].head_ms == own + 2000


def test_silence_after_the_speech_and_within_it_is_counted(heard: dict[str, Hearing]) -> None:
    own = heard["own"]
    assert own.tail_ms is not None and own.speech_s is not None and own.pace is not None
    assert heard["lingering"].tail_ms == pytest.approx(own.tail_ms + 1500, abs=30)
    assert heard["slow"].speech_s == pytest.approx(own.speech_s + 2.5, abs=0.05)
    assert heard["slow"].pace == pytest.approx(
        own.pace * (own.speech_s + 2.5) / own.speech_s, rel=0.02
    )


def test_of_a_mute_voice_every_word_is_missing_and_nothing_else_is_measured(
    heard: dict[str, Hearing],
) -> None:
    mute = heard["mute"]
    assert (mute.heard, mute.finish) == ("", "silence")
    assert mute.difference is not None
    assert mute.difference.word_edits == mute.difference.words
    assert mute.difference.words_said == 0
    for figure in (mute.speech_s, mute.head_ms, mute.tail_ms, mute.pace, mute.similarity, mute.mos):
        assert figure is None


def test_what_a_rough_codec_does_is_heard(heard: dict[str, Hearing]) -> None:
    own, coded = heard["own"], heard["coded"]
    assert own.similarity is not None and coded.similarity is not None
    assert own.mos is not None and coded.mos is not None
    assert 0 < coded.similarity < own.similarity - 0.1
    assert coded.mos < own.mos
    assert coded.difference is not None and coded.difference.words_said > 0


def test_a_random_base_is_not_listened_to(listener: Listener) -> None:
    deaf = Listener(listener.judges, listener.reference, is_random=True)
    (found,) = deaf.hear([Spoken(TEXTS[NAME], clip(NAME), "length")])
    assert (found.finish, found.seconds) == ("length", len(clip(NAME)) / SAMPLE_RATE)
    assert (found.heard, found.difference, found.similarity, found.head_ms) == (None,) * 4
    assert deaf.ceiling() == []


def test_without_judges_only_levels_are_measured(listener: Listener) -> None:
    nobody = Listener(Judges(None, None, None, ()), listener.reference)
    (found,) = nobody.hear([Spoken(TEXTS[NAME], clip(NAME), "stop")])
    assert (found.heard, found.difference, found.similarity, found.mos) == (None,) * 4
    assert found.pace is not None and found.head_ms is not None
    assert nobody.ceiling() == []
