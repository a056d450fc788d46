"""prepare with all its judges, on real speech: faults are found, and nothing is done twice."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from orpheus_clone import audio, manifest, recipe
from orpheus_clone.errors import DataError
from orpheus_clone.layout import PreparedDir, PreparedStamp
from orpheus_clone.manifest import Clip, Rejected
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare import check
from orpheus_clone.prepare.order import Order
from orpheus_clone.prepare.run import prepare
from orpheus_clone.tokens import SAMPLE_RATE
from tests import judges
from tests.conftest import DATA_SAMPLES
from tests.prepare.long_recording import recorded

TEXTS = dict(
    line.split("|", 1)
    for line in (DATA_SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()
)
PLAIN = ("001", "002", "003", "005", "007", "008")


@dataclass(frozen=True)
class Messy:
    """What a customer sent, and what prepare made of it."""

    sent: Path
    out: PreparedDir
    order: Order
    stamp: PreparedStamp

    def clips(self) -> dict[str, Clip]:
        return {clip.id: clip for clip in manifest.read_clips(self.out.clips)}

    def rejected(self) -> dict[str, Rejected]:
        lines = self.out.rejected.read_text(encoding="utf-8").splitlines()
        return {line["id"]: Rejected(**line) for line in map(json.loads, lines)}


def send(folder: Path) -> None:
    """Good clips, two of which have each other's text, a stranger, and a long one without text."""
    folder.mkdir()
    said = {name: TEXTS[name] for name in (*PLAIN, "015", "016", "017")}
    said["015"], said["016"] = said["016"], said["015"]
    said["stranger"] = said.pop("017")
    for name in (*PLAIN, "015", "016"):
        shutil.copy(DATA_SAMPLES / f"{name}.flac", folder)
    # A third higher and faster: another throat.
    other = soxr.resample(audio.read(DATA_SAMPLES / "017.flac"), SAMPLE_RATE * 4 / 3, SAMPLE_RATE)
    soundfile.write(folder / "stranger.flac", np.clip(other, -1, 1), SAMPLE_RATE)
    recorded(folder / "talk.flac", range(9, 14), [0.9])
    lines = "".join(f"{name}|{text}\n" for name, text in said.items())
    (folder / "metadata.csv").write_text(lines, encoding="utf-8")


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory, base: BaseModel) -> Messy:
    root = tmp_path_factory.mktemp("messy")
    send(root / "sent")
    settings = [
        f"judges.asr={judges.whisper_dir()}",
        f"judges.speaker={judges.ecapa_file()}",
        "prepare.max_rejected_fraction=0.9",
    ]
    order = Order([str(root / "sent")], "jack", base, recipe=recipe.load(None, settings))
    out = PreparedDir(root / "data")
    return Messy(root / "sent", out, order, prepare(order, out))


def test_what_is_good_is_kept_and_measured(messy: Messy) -> None:
    clips = messy.clips()
    assert set(PLAIN) <= clips.keys()
    for name in PLAIN:
        measured = clips[name].measured
        assert measured.cer is not None and measured.cer < 0.15
        assert measured.similarity is not None and measured.similarity > 0.5
        assert measured.mos is not None and measured.mos > 2.5
        assert measured.snr_db is not None and measured.snr_db > 20
        assert measured.pitch_hz is not None and 60 < measured.pitch_hz < 300


def test_texts_that_were_swapped_are_found(messy: Messy) -> None:
    rejected = messy.rejected()
    assert {rejected["015"].kind, rejected["016"].kind} == {"wrong_text"}


def test_a_stranger_is_found(messy: Messy) -> None:
    assert messy.rejected()["stranger"].kind == "other_speaker"


def test_a_long_recording_is_cut_into_sentences_with_what_was_heard(messy: Messy) -> None:
    cuts = [clip for name, clip in messy.clips().items() if name.startswith("talk-")]
    assert len(cuts) >= 2
    assert all(2 <= clip.end_s - clip.start_s <= 20 for clip in cuts)
    heard = " ".join(clip.text for clip in cuts)
    wanted = " ".join(TEXTS[f"{n:03}"] for n in range(9, 14))
    assert check.match(wanted, heard, "en").cer < 0.1


def test_the_corpus_is_brought_to_one_loudness(messy: Messy) -> None:
    import pyloudnorm

    clips = messy.clips().values()
    sound = np.concatenate([audio.read(messy.out.audio / f"{clip.key}.flac") for clip in clips])
    loudness = pyloudnorm.Meter(SAMPLE_RATE).integrated_loudness(sound)
    assert loudness == pytest.approx(-20, abs=1)


def test_the_report_tells_it_all(messy: Messy) -> None:
    report = json.loads((messy.out.root / "report.json").read_text(encoding="utf-8"))
    assert report["clips"] == messy.stamp.clips
    assert report["lost_clips"] == messy.stamp.rejected == 3
    assert report["notes"] == messy.stamp.notes == []
    assert all(messy.stamp.judges.values())
    page = messy.out.report.read_text(encoding="utf-8")
    assert "stranger" in page
    assert (messy.out.root / "README.md").is_file()


def remembered(out: PreparedDir) -> dict[str, int]:
    kinds = ("words", "sound", "voice", "codes", "recordings")
    paths = [path for kind in kinds for path in (out.cache / kind).iterdir()]
    return {str(path): path.stat().st_mtime_ns for path in [*paths, *out.audio.iterdir()]}


def test_another_limit_measures_nothing_again(messy: Messy) -> None:
    before = remembered(messy.out)
    told: list[str] = []
    strict = recipe.load(None, ["prepare.limits.snr_min_db=99"]).prepare.limits
    settings = messy.order.recipe.prepare.model_copy(update={"limits": strict})
    changed = messy.order.recipe.model_copy(update={"prepare": settings})
    order = Order(messy.order.places, "jack", messy.order.base, recipe=changed)
    with pytest.raises(DataError, match=r"0 of .* clips are usable"):
        prepare(order, messy.out, lambda stage, *_: told.append(stage))
    assert remembered(messy.out) == before
    assert "noisy" in {entry.kind for entry in messy.rejected().values()}
    prepare(messy.order, messy.out)


def test_an_added_recording_redoes_none_of_the_old(messy: Messy, tmp_path: Path) -> None:
    copy = PreparedDir(Path(shutil.copytree(messy.out.root, tmp_path / "data")))
    sent = Path(shutil.copytree(messy.sent, tmp_path / "sent"))
    shutil.copy(DATA_SAMPLES / "018.flac", sent)
    with (sent / "metadata.csv").open("a", encoding="utf-8") as file:
        file.write(f"018|{TEXTS['018']}\n")
    before = remembered(copy)
    order = Order([str(sent)], "jack", messy.order.base, recipe=messy.order.recipe)
    stamp = prepare(order, copy)
    assert stamp.clips == messy.stamp.clips + 1
    assert stamp.gain_db == messy.stamp.gain_db
    after = remembered(copy)
    assert before.items() <= after.items()
    # Words, sound, voice, codes, the working copy and the clip itself.
    assert len(after) == len(before) + 6
