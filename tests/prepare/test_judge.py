"""Each limit at its edge: a value that just meets it passes, one step past it does not."""

from dataclasses import replace

import pytest

from orpheus_clone.prepare.check import Match
from orpheus_clone.prepare.identity import Identity
from orpheus_clone.prepare.judge import faults
from orpheus_clone.quality import Quality
from orpheus_clone.recipe import Limits
from tests.prepare.clean import CLEAN

LIMITS = Limits(
    cer_max=0.3,
    unspoken_words_max=2,
    untold_words_max=2,
    similarity_min=0.4,
    part_similarity_min=0.2,
    snr_min_db=12,
    clipped_max=0.01,
    bandwidth_min_hz=5000,
    zeros_max=0.1,
    music_max=0.2,
    mos_min=2.5,
)
SAID = Match(0.3, unspoken="two words", untold="two words", substituted=(), words=9)
SPEAKER = Identity(similarity=0.4, lead=None, lowest_part=0.2, lowest_part_lead=None)
AT_THE_EDGE = replace(
    CLEAN, snr_db=12, clipped=0.01, bandwidth_hz=5000, zeros=0.1, mos=2.5, music=0.2
)


def kinds(
    quality: Quality = AT_THE_EDGE, who: Identity | None = SPEAKER, said: Match | None = SAID
) -> list[str]:
    return [fault.kind for fault in faults(quality, who, said, LIMITS, 3.0)]


def test_what_just_meets_every_limit_is_kept() -> None:
    assert kinds() == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"snr_db": 11.9}, "noisy"),
        ({"clipped": 0.011}, "clipped"),
        ({"music": 0.21}, "music"),
        ({"bandwidth_hz": 4999}, "narrowband"),
        ({"zeros": 0.101}, "digital_silence"),
        ({"mos": 2.49}, "poor"),
    ],
)
def test_a_sound_past_its_limit_is_a_fault(change: dict[str, float], kind: str) -> None:
    assert kinds(quality=replace(AT_THE_EDGE, **change)) == [kind]


def test_another_voice_is_told_from_an_interruption() -> None:
    assert kinds(who=replace(SPEAKER, similarity=0.39, lowest_part=0.1)) == ["other_speaker"]
    assert kinds(who=replace(SPEAKER, lowest_part=0.19)) == ["two_speakers"]
    assert kinds(who=replace(SPEAKER, lowest_part=None)) == []


def test_what_is_nearer_to_another_voice_of_the_corpus_is_that_ones() -> None:
    assert kinds(who=replace(SPEAKER, lead=0.0)) == []
    assert kinds(who=replace(SPEAKER, lead=-0.01)) == ["other_speaker"]
    assert kinds(who=replace(SPEAKER, lowest_part_lead=0.0)) == []
    assert kinds(who=replace(SPEAKER, lowest_part_lead=-0.01)) == ["two_speakers"]


def test_noise_is_told_before_two_speakers() -> None:
    noisy = replace(AT_THE_EDGE, snr_db=1)
    assert kinds(noisy, replace(SPEAKER, lowest_part=0)) == ["noisy", "two_speakers"]


def test_a_short_clip_need_not_be_as_like() -> None:
    who = replace(SPEAKER, similarity=0.3)
    assert [f.kind for f in faults(AT_THE_EDGE, who, None, LIMITS, 3.0)] == ["other_speaker"]
    # 0.4 times the square root of 0.75 / 1.5 s is 0.283.
    assert faults(AT_THE_EDGE, who, None, LIMITS, 0.75) == []


@pytest.mark.parametrize(
    "change", [{"cer": 0.31}, {"unspoken": "now three words"}, {"untold": "now three words"}]
)
def test_a_text_that_was_not_said_is_a_fault(change: dict[str, object]) -> None:
    assert kinds(said=replace(SAID, **change)) == ["wrong_text"]  # type: ignore[arg-type]


def test_the_reason_says_what_was_heard() -> None:
    (fault,) = faults(AT_THE_EDGE, None, replace(SAID, untold="and then he left"), LIMITS, 3.0)
    assert fault.reason == "'and then he left' was heard and is not in the text"


def test_the_gravest_fault_comes_first() -> None:
    worst = replace(AT_THE_EDGE, snr_db=1, mos=1.0)
    assert kinds(worst, replace(SPEAKER, similarity=0), replace(SAID, cer=1)) == [
        "wrong_text", "other_speaker", "noisy", "poor",
    ]  # fmt: skip


def test_what_was_not_measured_is_no_fault() -> None:
    assert kinds(replace(AT_THE_EDGE, mos=None), None, None) == []


def test_a_limit_of_null_checks_nothing() -> None:
    none = Limits(**dict.fromkeys(Limits.model_fields))
    said = replace(SAID, cer=9, unspoken="a b c d e")
    worst = replace(CLEAN, snr_db=-9, clipped=1, bandwidth_hz=1, zeros=1, mos=1)
    assert faults(worst, replace(SPEAKER, similarity=-1, lowest_part=-1), said, none, 9.0) == []
