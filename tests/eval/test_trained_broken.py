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
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import tokenise

from orpheus_clone import audio, layout, manifest, models, nano, recipe
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.base import Engine, Precision
from orpheus_clone.eval.report import Evaluation
from orpheus_clone.eval.run import Order, evaluate
from orpheus_clone.judges import Judges, seated
from orpheus_clone.layout import PreparedDir, PreparedStamp, RunDir
from orpheus_clone.manifest import Clip
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare import corpus
from orpheus_clone.prepare.encode import Encoded
from orpheus_clone.speech import Speaker
from orpheus_clone.tokens import FRAME, FRAME_SAMPLES, SAMPLE_RATE, Codes
from orpheus_clone.train.run import train
from tests.conftest import VOICE, opened_vllm
from tests.eval.voices import QUICK, real_judges

pytestmark = [pytest.mark.vllm, pytest.mark.asyncio(loop_scope="module")]

UNITS = Path(__file__).parents[2] / "recipes" / "nano" / "units.npz"
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

Words = tuple[str, ...]
Change = Callable[[Codes], Codes]
"""What is done to a clip's codes before it is learnt, (frames, 7) to (frames, 7)."""


def whole(codes: Codes) -> Codes:
    return codes


def ends_cut(codes: Codes) -> Codes:
    return codes[: len(codes) * 2 // 3]


def two_seconds_before(codes: Codes) -> Codes:
    frames = round(2 * SAMPLE_RATE / FRAME_SAMPLES)
    return np.concatenate([np.resize(units()["ada", QUIET], (frames, FRAME)), codes])


@cache
def units() -> dict[tuple[str, str], Codes]:
    """The codes of every voice's words."""
    return {(unit.voice, unit.text): unit.codes.astype(np.int64) for unit in tokenise.read(UNITS)}


def said(voice: str, words: Words) -> Codes:
    return np.concatenate([units()[voice, word] for word in words])


def written(words: Words) -> str:
    return f"{' '.join(words).capitalize()}."


@dataclass(frozen=True)
class School:
    """Where voices learn, and are examined."""

    folder: Path
    base: BaseModel
    engine: Engine
    codec: Codec
    judges: Judges
    lines: Sequence[Words]
    """All that can be said, in an order of chance: learnt, held out, asked for, and the rest."""

    async def evaluate(self, voice: str, change: Change) -> Evaluation:
        """A voice that learnt what `voice` says, changed, and should speak as ada does."""
        name = f"{voice}-{change.__name__}"
        data, run = PreparedDir(self.folder / "data" / name), RunDir(self.folder / "runs" / name)
        learnt = [change(said(voice, words)) for words in self.lines[:CLIPS]]
        heldout = [said("ada", words) for words in self.lines[CLIPS : CLIPS + HELD_OUT]]
        self._write(data, [*learnt, *heldout])
        settings = recipe.load(None, [*QUICK, *SETTINGS, f"eval.prompts_file={self._prompts()}"])
        train(data, run, recipe=settings, base=self.base)
        order = Order(run, settings, self.base, seated(self.judges), "vllm", "CPU")
        return await evaluate(order, self._opened)

    def _prompts(self) -> Path:
        path = self.folder / "prompts.txt"
        asked = self.lines[CLIPS + HELD_OUT :][:PROMPTS]
        path.write_text("\n".join(map(written, asked)), encoding="utf-8")
        return path

    def _write(self, data: PreparedDir, recordings: list[Codes]) -> None:
        """A corpus as prepare leaves it; the last are held out."""
        data.audio.mkdir(parents=True)
        clips = []
        for number, (words, codes) in enumerate(zip(self.lines, recordings, strict=False)):
            clips.append(_clip(number, written(words), len(codes)))
            samples = np.clip(self.codec.decode(codes), -1, 1)
            audio.write(data.audio / f"{clips[-1].key}.flac", samples)
        encoded = [Encoded(codes, len(codes) * FRAME_SAMPLES, 0, 0, 0) for codes in recordings]
        corpus.write_dataset(data, clips, encoded)
        manifest.write_clips(data.clips, clips)
        layout.write_stamp(data.stamp_file, _stamp(self.base, clips, str(data.root)))

    @asynccontextmanager
    async def _opened(self, _: Precision | None) -> AsyncGenerator[Speaker, None]:
        yield Speaker(self.engine, self.codec, self.base, is_exact=True)


def _clip(number: int, text: str, frames: int) -> Clip:
    seconds = frames * FRAME_SAMPLES / SAMPLE_RATE
    return Clip(
        id=str(number),
        text=text,
        source="nano",
        start_s=0.0,
        end_s=seconds,
        key=f"{number:03}",
        seconds=seconds,
        frames=frames,
        source_head_ms=0.0,
        source_tail_ms=0.0,
        split="train" if number < CLIPS else "heldout",
    )


def _stamp(base: BaseModel, clips: list[Clip], digest: str) -> PreparedStamp:
    return PreparedStamp(
        voice=VOICE,
        language="en",
        base=base.name,
        base_digest=base.digest,
        codec_digest=base.codec_digest,
        clips=len(clips),
        heldout=HELD_OUT,
        rejected=0,
        seconds=sum(clip.seconds for clip in clips),
        gain_db=0.0,
        notes=[],
        judges={},
        data_digest=digest,
        inputs_digest=digest,
        consent=None,
        versions=layout.versions(),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[School, None]:
    folder = tmp_path_factory.mktemp("school")
    (folder / "nano").mkdir()
    nano.make(folder / "nano")
    base = replace(models.locate(str(folder / "nano")), voices=(STOCK,))
    lines = random.Random(0).sample(list(product(*WORDS)), 96)
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
