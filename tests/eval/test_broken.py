"""Broken voices fail the gate that names their fault, and a sound one fails none: real judges.

Each is heard by whisper-base, ECAPA-TDNN and DNSMOS, with the limits that are shipped, which takes
the better part of these tests' time. What a voice learnt from broken clips it speaks as they are.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from orpheus_clone.audio import Waveform
from orpheus_clone.eval.report import Evaluation
from orpheus_clone.layout import RunDir
from orpheus_clone.models import BaseModel
from tests.eval.voices import (
    Change,
    Studio,
    another,
    ms,
    real_judges,
    room_tone,
    settings,
    with_reference,
)

UNMEASURED = {"stream rate P5", "first speech P50", "utterances"}
"""The target is a GPU, and the tape is none; and six utterances are too few."""


def ends_cut(samples: Waveform) -> Waveform:
    return samples[: -ms(100 + 120)]


def two_seconds_before(samples: Waveform) -> Waveform:
    return np.concatenate([room_tone(2000), samples])


def long_tail(samples: Waveform) -> Waveform:
    return np.concatenate([samples, room_tone(1500)])


def words_missing(samples: Waveform) -> Waveform:
    middle = len(samples) // 2
    return np.concatenate([samples[: middle - ms(500)], samples[middle + ms(500) :]])


@pytest.fixture(scope="module")
def studio(
    run_dir: RunDir, base: BaseModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("broken")
    trained = replace(base, is_random=False, voices=base.voices[:1])
    run = with_reference(run_dir, folder / "run")
    yield Studio(run, trained, real_judges(), settings(folder))


def by_status(evaluation: Evaluation, status: str) -> set[str]:
    return {gate.name for gate in evaluation.gates if gate.status == status}


async def test_a_sound_voice_fails_no_gate(studio: Studio) -> None:
    evaluation = await studio.evaluate()
    assert by_status(evaluation, "failed") == set()
    assert by_status(evaluation, "not measurable") == UNMEASURED
    assert evaluation.real.similarity is not None
    assert evaluation.real.wer is not None
    assert evaluation.real.wer < 0.1
    # What it says is what the speaker says, in his voice.
    assert evaluation.summary["similarity"] == pytest.approx(evaluation.real.similarity, abs=0.1)
    assert {line.word_edits for line in evaluation.heldout} <= {0, 1}
    assert evaluation.stock[0].similarity is not None
    assert evaluation.stock[0].similarity < 0.4


@pytest.mark.parametrize(
    ("learnt", "named"),
    [
        (ends_cut, {"cut endings"}),
        (two_seconds_before, {"head silence P50"}),
        (long_tail, {"tail silence P50"}),
        (words_missing, {"word error rate"}),
        (another, {"similarity", "similarity over stock"}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_a_broken_voice_fails_the_gate_that_names_its_fault(
    studio: Studio, learnt: Change, named: set[str]
) -> None:
    evaluation = await studio.evaluate(learnt)
    assert evaluation.verdict == "failed"
    assert by_status(evaluation, "failed") == named
    page = (studio.run.eval / "report.html").read_text(encoding="utf-8")
    first = page.index('<strong class="failed">')
    assert f'<strong class="failed">{sorted(named)[0]}</strong>' in page
    assert first < page.index('<td class="passed">'), "what failed comes first"
