"""Emotion tags and texts of one word: a sound outside the words is found, and only there."""

from dataclasses import replace

import pytest

from orpheus_clone import asr
from orpheus_clone.asr import Heard, Word
from orpheus_clone.audio import Waveform
from orpheus_clone.eval.prompts import CARRIERS
from orpheus_clone.eval.special import hear_tags, one_word, outside_words_s, tag_prompts
from orpheus_clone.eval.speed import Utterance
from orpheus_clone.listening.hear import Hearing
from orpheus_clone.listening.words import difference
from tests import judges
from tests.eval.test_lines import HEARING
from tests.eval.voices import clip, room_tone
from tests.signals import joined, noise, tone


def word(start_s: float, end_s: float) -> Word:
    return Word("word", start_s, end_s, 1.0)


def test_loud_sound_in_no_word_is_counted_and_silence_is_not() -> None:
    sound = joined(tone(500), noise(500, -70), tone(400), noise(500, -70), tone(500))
    words = [word(0.0, 0.5), word(1.9, 2.4)]
    assert outside_words_s(sound, words) == pytest.approx(0.4, abs=0.03)
    assert outside_words_s(sound, [*words, word(1.0, 1.4)]) == pytest.approx(0, abs=0.03)


def test_sound_near_a_word_is_the_words() -> None:
    assert outside_words_s(tone(500), [word(0.1, 0.4)]) == 0
    assert outside_words_s(tone(500), [word(0.0, 0.2)]) == pytest.approx(0.2, abs=0.02)


def test_each_tag_is_asked_with_and_without_it() -> None:
    prompts = tag_prompts(["laugh", "sigh"])
    assert len(prompts) == 2 * 2 * len(CARRIERS)
    with_tag, without = prompts[0], prompts[1]
    assert "<laugh>" in with_tag
    assert with_tag.replace("<laugh> ", "") == without
    assert "<sigh>" in prompts[2 * len(CARRIERS)]
    assert tag_prompts([]) == []


def laughed(samples: Waveform, at_s: float) -> Waveform:
    """With three bursts of voiced sound in the middle of a pause."""
    burst = joined(tone(150, -22, 180), tone(60, -45, 180))
    at = round(at_s * 24_000)
    return joined(samples[:at], room_tone(200), burst, burst, burst, room_tone(200), samples[at:])


def spoken(samples: Waveform) -> Utterance:
    return Utterance("…", samples, 7, "stop", 0.1, 0.2)


def test_a_real_judge_tells_a_sound_from_none() -> None:
    whisper = asr.load(str(judges.whisper_dir()))
    plain = clip("005")
    utterances = [
        spoken(samples)
        for tag in ("laugh", "sigh")
        for _ in CARRIERS
        for samples in (joined(plain, laughed(room_tone(200), 0.1)) if tag == "laugh" else plain,
                        plain)
    ]  # fmt: skip
    laugh, sigh = hear_tags(["laugh", "sigh"], utterances, whisper, "en")
    assert (laugh.tag, laugh.pairs, laugh.heard) == ("laugh", 3, 3)
    assert laugh.extra_s >= 0.3
    assert sigh.heard == 0
    assert abs(sigh.extra_s) < 0.2, "the same clip is not heard quite the same everywhere"


class Deaf:
    """Hears no word in anything."""

    digest = "deaf"

    def hear(self, waveforms: list[Waveform], *_: object) -> list[Heard]:
        return [Heard((), "en") for _ in waveforms]


def test_a_sound_shorter_than_any_laugh_is_none() -> None:
    pairs = [spoken(tone(190)), spoken(noise(190, -70))] * len(CARRIERS)
    assert hear_tags(["laugh"], pairs, Deaf(), "en")[0].heard == 0  # type: ignore[arg-type]
    pairs = [spoken(tone(230)), spoken(noise(230, -70))] * len(CARRIERS)
    assert hear_tags(["laugh"], pairs, Deaf(), "en")[0].heard == 3  # type: ignore[arg-type]


def answered(heard: str | None, *, is_mute: bool = False) -> Hearing:
    found = None if heard is None else difference("Seven.", heard, "en")
    speech_s = None if is_mute else 0.4
    return replace(HEARING, text="Seven.", heard=heard, difference=found, speech_s=speech_s)


@pytest.mark.parametrize(
    ("hearing", "result"),
    [
        (answered("Seven."), "said"),
        (answered("7"), "said"),
        (answered("Thank you for watching"), "noise"),
        (answered(""), "noise"),
        (answered("", is_mute=True), "silence"),
        (answered(None), "not measured"),
    ],
    ids=["said", "spelt otherwise", "other words", "no word", "silence", "no judge"],
)
def test_one_word_is_said_or_silence_or_noise(hearing: Hearing, result: str) -> None:
    assert one_word(hearing).result == result
