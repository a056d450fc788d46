"""Voices made of vectors whose similarities are known, and the real model where it matters."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus_clone.prepare.identity import (
    Voiceprint,
    Voices,
    identify,
    limit_for,
    part_limit_for,
    voiceprint,
)
from orpheus_clone.speaker import Embedding, SpeakerModel
from tests.test_speaker import another, model, speech

__all__ = ["model"]
SIZE = 192
WITHIN = 0.63
"""Mean similarity of two sentences of a real speaker, as measured on LibriSpeech."""


def directions(cosine: float, seed: int = 0, count: int = 2) -> list[Embedding]:
    """Unit vectors with this cosine between any two."""
    normal = np.random.default_rng(seed).standard_normal((SIZE, count))
    axes = np.linalg.qr(normal)[0].T
    gram = np.full((count, count), cosine) + (1 - cosine) * np.eye(count)
    return [np.asarray(row, np.float32) for row in np.linalg.cholesky(gram) @ axes]


def said(
    voice: Embedding, count: int, seed: int, *, within: float = WITHIN, seconds: float = 5.0
) -> list[Voiceprint]:
    """Clips of a voice whose mean similarity to each other is `within`."""
    noise = np.random.default_rng(seed).standard_normal((count, SIZE))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    clips = within**0.5 * voice + (1 - within) ** 0.5 * noise
    clips /= np.linalg.norm(clips, axis=1, keepdims=True)
    return [Voiceprint(clip.astype(np.float32), (), seconds) for clip in clips]


def similarities(found: Voices) -> list[float]:
    return [clip.similarity for clip in found.clips]


@pytest.mark.parametrize("count", [1, 2, 4, 10, 600])
@pytest.mark.parametrize("within", [0.45, WITHIN, 0.82])
def test_one_voice_is_one_however_alike_its_clips_are(count: int, within: float) -> None:
    for seed in range(3):
        found = identify(said(directions(0)[0], count, seed, within=within))
        assert (found.share, found.runner_up_share) == (1.0, 0.0)
        assert found.runner_up_similarity is None
        assert min(similarities(found)) > 0.4
        assert {(clip.lead, clip.lowest_part) for clip in found.clips} == {(None, None)}


@pytest.mark.parametrize(
    ("cosine", "within"), [(0.1, WITHIN), (0.1, 0.45), (0.4, WITHIN), (0.7, 0.82)]
)
@pytest.mark.parametrize(("most", "fewer"), [(11, 9), (14, 6), (330, 270)])
def test_of_two_voices_the_one_with_most_of_the_time_is_wanted(
    cosine: float, within: float, most: int, fewer: int
) -> None:
    wanted, other = directions(cosine)
    clips = said(other, fewer, 1, within=within) + said(wanted, most, 2, within=within)
    found = identify(clips)
    assert found.share == pytest.approx(most / (most + fewer))
    assert found.runner_up_share == pytest.approx(fewer / (most + fewer))
    assert found.runner_up_similarity == pytest.approx(cosine, abs=0.15)
    leads = [clip.lead for clip in found.clips]
    assert all(lead is not None and lead < 0 for lead in leads[:fewer])
    assert all(lead is not None and lead > 0 for lead in leads[fewer:])


def test_of_five_voices_the_largest_is_wanted_and_none_of_the_others_is_near() -> None:
    wanted, *others = directions(0.1, count=5)
    clips = said(wanted, 30, 0) + [c for i, voice in enumerate(others) for c in said(voice, 17, i)]
    found = identify(clips)
    assert found.share == pytest.approx(30 / 98)
    assert found.runner_up_share == pytest.approx(17 / 98)
    assert min(similarities(found)[:30]) > 0.6
    assert max(similarities(found)[30:]) < 0.35


def test_of_four_clips_the_one_of_somebody_else_is_found() -> None:
    wanted, other = directions(0.1)
    found = identify([*said(wanted, 3, 0), *said(other, 1, 1)])
    assert min(similarities(found)[:3]) > 0.6
    assert similarities(found)[3] < 0.35
    assert found.share == 0.75


def test_odd_clips_are_not_another_voice() -> None:
    wanted, *strangers = directions(0.0, count=4)
    found = identify(said(wanted, 60, 0) + [c for s in strangers for c in said(s, 1, 1)])
    assert [clip.lead for clip in found.clips] == [None] * 63
    assert max(similarities(found)[60:]) < 0.35
    assert found.share == pytest.approx(60 / 63)


def test_time_counts_and_not_the_number_of_clips() -> None:
    long, short = directions(0.1)
    found = identify(said(short, 9, 0, seconds=2.0) + said(long, 4, 1, seconds=5.0))
    assert max(similarities(found)[:9]) < 0.35 < min(similarities(found)[9:])
    assert found.share == pytest.approx(20 / 38)


def test_one_long_clip_does_not_outweigh_many() -> None:
    wanted, other = directions(0.1)
    found = identify(said(wanted, 5, 0, seconds=4.0) + said(other, 1, 1, seconds=300.0))
    assert min(similarities(found)[:5]) > 0.35 > similarities(found)[5]


def test_short_clips_that_are_like_nothing_do_not_make_a_voice() -> None:
    wanted = directions(0)[0]
    long = said(wanted, 20, 0, seconds=4.0)
    found = identify(long + said(wanted, 20, 1, within=0.1, seconds=0.8))
    assert found.runner_up_share == 0.0
    assert min(similarities(found)[:20]) > 0.6


def test_a_reference_names_the_voice_though_another_speaks_more() -> None:
    wanted, other = directions(0.1)
    clips = said(wanted, 4, 0) + said(other, 16, 1)
    reference = said(wanted, 1, 2)[0].whole
    found = identify(clips, reference)
    assert found.share == pytest.approx(0.2)
    assert found.runner_up_share == pytest.approx(0.8)
    assert min(similarities(found)[:4]) > 0.6 > 0.35 > max(similarities(found)[4:])


def test_a_reference_that_nobody_is_like_is_held_against_the_clips_itself() -> None:
    speaker, stranger = directions(0.0)
    clips = said(speaker, 10, 0)
    found = identify(clips, stranger)
    assert (found.share, found.runner_up_share) == (0.0, 1.0)
    assert found.runner_up_similarity is None
    assert similarities(found) == pytest.approx(
        [float(c.whole @ stranger) for c in clips], abs=1e-6
    )
    assert all(clip.lead is not None and clip.lead < 0 for clip in found.clips)


def test_the_part_that_is_least_like_the_voice_is_told() -> None:
    wanted, other = directions(0.0)
    clips = said(wanted, 10, 0, within=1.0) + said(other, 5, 1, within=1.0)
    half = np.asarray((wanted + other) / 2**0.5, np.float32)
    mixed = dataclasses.replace(clips[0], parts=(wanted, half, wanted))
    found = identify([mixed, *clips[1:]])
    assert found.clips[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert found.clips[0].lowest_part == pytest.approx(0.5**0.5, abs=1e-5)
    assert found.clips[0].lowest_part_lead == pytest.approx(0.0, abs=1e-5)
    assert found.clips[0].lead == pytest.approx(1.0, abs=1e-5)
    assert found.clips[1].lowest_part is None


def test_what_parts_usually_are_is_told_of_the_clips_of_the_voice_alone() -> None:
    wanted, other = directions(0.0)
    parts = [np.float32(c) * wanted + np.float32((1 - c * c) ** 0.5) * other for c in (0.8, 0.9, 1)]
    own = said(wanted, 6, 0, within=1.0)
    own = own[:3] + [
        dataclasses.replace(clip, parts=(wanted, part))
        for clip, part in zip(own[3:], parts, strict=True)
    ]
    foreign = [dataclasses.replace(c, parts=(other,)) for c in said(other, 4, 1, within=1.0)]
    found = identify(own + foreign)
    assert found.usual_lowest_part == pytest.approx(0.9, abs=1e-5)
    assert identify(own[:3]).usual_lowest_part is None


def test_a_part_may_be_as_unlike_the_voice_as_they_usually_are_in_the_corpus() -> None:
    assert part_limit_for(0.36, None) == 0.36
    assert part_limit_for(0.36, 0.5) == 0.36
    assert part_limit_for(0.36, 0.75) == pytest.approx(0.75 - 0.17)


def test_without_clips_nobody_speaks() -> None:
    assert identify([]) == Voices([], 0.0, 0.0, None, None)


@settings(max_examples=25, deadline=None)
@given(
    order=st.permutations(range(24)),
    cosine=st.sampled_from([0.0, 0.5, 0.7, 0.9]),
    seconds=st.lists(st.floats(0.2, 20), min_size=24, max_size=24),
)
def test_the_order_of_the_clips_does_not_matter(
    order: list[int], cosine: float, seconds: list[float]
) -> None:
    one, two = directions(cosine)
    clips = said(one, 12, 0) + said(two, 12, 1)
    clips = [dataclasses.replace(c, seconds=s) for c, s in zip(clips, seconds, strict=True)]
    straight, shuffled = identify(clips), identify([clips[i] for i in order])
    assert shuffled.clips == [straight.clips[i] for i in order]
    assert dataclasses.replace(shuffled, clips=[]) == dataclasses.replace(straight, clips=[])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(0, 1000), st.floats(0.0, 1.0))
def test_shares_are_shares_whoever_speaks(count: int, seed: int, within: float) -> None:
    found = identify(said(directions(0)[0], count, seed, within=within))
    assert len(found.clips) == count
    assert 0 <= found.runner_up_share <= found.share
    assert found.share + found.runner_up_share <= 1 + 1e-9
    assert all(-1.0001 <= clip.similarity <= 1.0001 for clip in found.clips)


def test_clips_that_are_all_the_same_are_one_voice() -> None:
    assert identify(said(directions(0)[0], 1, 0) * 20).share == 1.0


def test_thousands_of_clips_of_many_voices_are_no_trouble() -> None:
    voices = directions(0.1, count=100)
    found = identify([c for i, voice in enumerate(voices) for c in said(voice, 40, i)])
    assert len(found.clips) == 4000
    assert found.share < 0.5


def test_a_short_clip_need_not_be_as_like_the_speaker() -> None:
    assert limit_for(0.36, 1.5) == limit_for(0.36, 60.0) == 0.36
    assert limit_for(0.36, 1.49) < 0.36
    assert limit_for(0.36, 0.96) == pytest.approx(0.36 * 0.8)
    assert limit_for(0.36, 0.8) > 0.2
    assert limit_for(0.36, 0.79) == limit_for(0.36, 0.0) == -1.0


def test_a_clip_too_short_to_tell_has_a_similarity_and_no_lead() -> None:
    one, two = directions(0.1)
    clips = said(one, 9, 0) + said(two, 6, 1)
    short = [dataclasses.replace(clips[-1], seconds=s) for s in (0.79, 0.8)]
    too_short, long_enough = identify(clips + short).clips[-2:]
    assert too_short.lead is None and long_enough.lead is not None
    assert too_short.similarity == long_enough.similarity < 0.35


def test_a_voiceprint_of_real_speech_tells_its_length_and_parts(model: SpeakerModel) -> None:
    clips = [speech(1), speech(2), np.concatenate([speech(3), another(speech(4))])]
    prints = [voiceprint(model, clip) for clip in clips]
    assert [p.seconds for p in prints] == pytest.approx([len(c) / 24_000 for c in clips])
    own, _, mixed = identify(prints).clips
    assert own.lowest_part is not None and mixed.lowest_part is not None
    assert own.lowest_part > 0.5 > 0.35 > mixed.lowest_part
