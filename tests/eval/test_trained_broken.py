"""Voices that were trained on broken recordings fail the gates that name the fault; nothing faked.

    recordings ──fault──▶ corpus ──train──▶ voice ──vLLM──▶ sound ──real judges──▶ gates

The base is nano as it is released. Of a speaker who is new to it a clone says no words, however
sound the recordings, so the speaker is ada, whom it knows: her recordings are the codes of words
that it learnt itself, put together to sentences. They go past prepare, which would take the silence
away. The clone has a name of its own, and learns from them who that is.
"""

import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import spoken
from spoken import Recording, joined

from orpheus_clone import models, nano, recipe
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import Engine, Precision
from orpheus_clone.eval.report import Evaluation
from orpheus_clone.eval.run import Order, evaluate
from orpheus_clone.judges import Judges, seated
from orpheus_clone.layout import PreparedDir, RunDir
from orpheus_clone.models import BaseModel
from orpheus_clone.speech import Speaker
from orpheus_clone.tokens import FRAME, FRAME_SAMPLES, SAMPLE_RATE, Codes
from orpheus_clone.train.run import train
from tests.conftest import VOICE, opened_vllm
from tests.eval.voices import QUICK, real_judges

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900),  # each trains, speaks and hears
]

QUIET = ""
"""What nano's voices begin with, in the place of a word."""
STOCK = "ben"
WORDS = (
    ("please", "now", "today", "tomorrow"),
    ("open", "close", "read", "take"),
    ("my",),
    ("window", "table", "music", "house", "door", "garden"),
)
"""One of each is a sentence; whisper-base understands them all in both voices."""
CLIPS, HELD_OUT, PROMPTS = 36, 4, 8
SETTINGS = (
    *("train.epochs=3", "train.learning_rate=0.002", "train.batch_size=2"),
    *("train.selection.prompts=0", "eval.concurrency=8", f"eval.prompts={PROMPTS}"),
    *("sampling.temperature=0.2", "sampling.repetition_penalty=1.0"),
    # Not 0.5: nano's codec makes voices alike. Ada is 0.88 like herself, and 0.44 to 0.67 others.
    "eval.gates.similarity_min=0.7",
)

HARMED_TOO = {"word error rate"}
"""Ends that are cut take words along, and of clips that are half silence fewer words are learnt."""

Change = Callable[[Codes], Codes]
"""What is done to a clip's codes before it is learnt, (frames, 7) to (frames, 7)."""


def whole(codes: Codes) -> Codes:
    return codes


def ends_cut(codes: Codes) -> Codes:
    return codes[: len(codes) * 2 // 3]


def two_seconds_before(codes: Codes) -> Codes:
    frames = round(2 * SAMPLE_RATE / FRAME_SAMPLES)
    return np.concatenate([np.resize(spoken.units()["ada", QUIET], (frames, FRAME)), codes])


@dataclass(frozen=True)
class School:
    """Where voices learn, and are examined."""

    folder: Path
    base: BaseModel
    engine: Engine
    codec: Codec
    judges: Judges
    lines: Sequence[str]
    """All that can be said, in an order of chance: learnt, held out, asked for, and the rest."""

    async def evaluate(self, voice: str, change: Change) -> Evaluation:
        """A voice that learnt what `voice` says, changed, and should speak as ada does."""
        name = f"{voice}-{change.__name__}"
        data, run = PreparedDir(self.folder / "data" / name), RunDir(self.folder / "runs" / name)
        learnt, held_out = self.lines[:CLIPS], self.lines[CLIPS : CLIPS + HELD_OUT]
        recordings = [
            *(Recording(text, change(joined(voice, text)), "train") for text in learnt),
            *(Recording(text, joined("ada", text), "heldout") for text in held_out),
        ]
        spoken.write(data, self.base, VOICE, recordings)
        settings = recipe.load(None, [*QUICK, *SETTINGS, f"eval.prompts_file={self._prompts()}"])
        train(data, run, recipe=settings, base=self.base)
        order = Order(run, settings, self.base, seated(self.judges), "vllm", "CPU")
        return await evaluate(order, self._opened)

    def _prompts(self) -> Path:
        path = self.folder / "prompts.txt"
        asked = self.lines[CLIPS + HELD_OUT :][:PROMPTS]
        path.write_text("\n".join(asked), encoding="utf-8")
        return path

    @asynccontextmanager
    async def _opened(self, _: Precision | None) -> AsyncGenerator[Speaker, None]:
        yield Speaker(self.engine, self.codec, self.base, is_exact=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[School, None]:
    folder = tmp_path_factory.mktemp("school")
    (folder / "nano").mkdir()
    nano.make(folder / "nano")
    base = replace(models.locate(str(folder / "nano")), voices=(STOCK,))
    made = [f"{' '.join(words).capitalize()}." for words in product(*WORDS)]
    lines = random.Random(0).sample(made, len(made))
    codec, judges = Codec(base.codec_path), real_judges()
    async with opened_vllm(base) as engine:
        yield School(folder, base, engine, codec, judges, lines)


def failed(evaluation: Evaluation) -> set[str]:
    return {gate.name for gate in evaluation.gates if gate.status == "failed"}


async def test_a_voice_that_was_trained_on_sound_recordings_fails_no_gate(school: School) -> None:
    assert failed(await school.evaluate("ada", whole)) == set()


@pytest.mark.parametrize(
    ("voice", "change", "named"),
    [
        ("ada", ends_cut, {"cut endings"}),
        ("ada", two_seconds_before, {"head silence P50"}),
        (STOCK, whole, {"similarity", "similarity over stock"}),
    ],
)
async def test_a_voice_that_was_trained_on_broken_ones_fails_the_gates_that_name_their_fault(
    school: School, voice: str, change: Change, named: set[str]
) -> None:
    assert failed(await school.evaluate(voice, change)) - HARMED_TOO == named
