import re
import shutil
from pathlib import Path

import pytest

from orpheus_clone import asr, disk, models, nano
from orpheus_clone.codec.snac import Codec
from orpheus_clone.engine.hf import HfEngine
from orpheus_clone.errors import ArtifactError
from orpheus_clone.listening.words import difference
from orpheus_clone.recipe import Sampling
from orpheus_clone.speech import Speaker, Voice
from tests import judges


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without the tiny nano of other tests: here it is the real one that is looked at."""
    monkeypatch.setenv("ORPHEUS_CLONE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made(out: Path) -> Path:
    out.mkdir()
    nano.make(out)
    return out


def test_it_made_twice_is_the_same_to_the_byte(tmp_path: Path) -> None:
    once, again = made(tmp_path / "once"), made(tmp_path / "again")
    for file in sorted(path for path in once.rglob("*") if path.is_file()):
        assert disk.sha256_file(again / file.relative_to(once)) == disk.sha256_file(file)
    assert models.locate(str(again)).digest == models.locate(str(once)).digest


def test_it_is_made_once_and_says_so(empty_cache: Path) -> None:
    assert not models.is_here(models.NANO)
    said: list[str] = []
    base = models.locate("nano", said.append)
    assert said == ["writing the nano base model into the cache (once)"]
    assert base.path.parent == empty_cache
    assert models.locate("nano", said.append) == base
    assert len(said) == 1
    assert models.is_here(models.NANO)


def test_it_says_what_it_is(empty_cache: Path) -> None:
    base = models.locate("nano")
    assert base.voices == nano.VOICES
    assert (base.name, base.language, base.tags) == ("nano", "en", ())
    assert not base.is_random
    assert base.prompts == tuple(nano.prompts())


@pytest.mark.parametrize("hurt", ["base/base.safetensors", "codec/config.json"])
def test_damaged_weights_are_refused(
    hurt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(nano.WEIGHTS, tmp_path / "weights")
    monkeypatch.setattr(nano, "WEIGHTS", copy)
    with (copy / hurt).open("ab") as file:
        file.write(b" ")
    (tmp_path / "out").mkdir()
    with pytest.raises(ArtifactError, match=f"{hurt} is damaged or missing: install"):
        nano.make(tmp_path / "out")
    (copy / hurt).unlink()
    with pytest.raises(ArtifactError, match="damaged or missing"):
        nano.make(tmp_path / "out")


def test_its_prompts_are_of_its_own_words_and_not_what_it_is_measured_with() -> None:
    recipes = Path(__file__).parents[2] / "recipes" / "nano"
    words = set((recipes / "words.txt").read_text(encoding="utf-8").split())
    measured_with = (recipes / "rung1.txt").read_text(encoding="utf-8").splitlines()
    assert {word for line in nano.prompts() for word in re.findall("[a-z]+", line.lower())} <= words
    assert len(nano.prompts()) == len(set(nano.prompts())) == 60
    assert not set(nano.prompts()) & set(measured_with)


def test_its_weights_are_small_enough_for_a_package() -> None:
    files = [path for path in nano.WEIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 48 * 2**20


async def test_its_stock_voices_say_what_they_are_asked_to(empty_cache: Path) -> None:
    base = models.locate("nano")
    engine = HfEngine(base)
    speaker = Speaker(engine, Codec(base.codec_path), base, is_exact=True)
    sampling = Sampling(temperature=0.2, repetition_penalty=1.0)
    texts = nano.prompts()[:8]
    try:
        spoken = [
            await speaker.say(text, Voice(base.voices[n % 4], sampling=sampling), seed=n)
            for n, text in enumerate(texts)
        ]
    finally:
        await engine.close()
    heard = asr.load(str(judges.whisper_dir())).hear(spoken, "en")
    edits = said = 0
    for text, hearing in zip(texts, heard, strict=True):
        told = difference(text, " ".join(word.text for word in hearing.words), "en")
        edits, said = edits + told.word_edits, said + told.words
    assert edits / said < 0.4  # by nobody's chance: random weights, or another codec, have 1
