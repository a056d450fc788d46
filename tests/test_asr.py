"""What is heard, and in which waveform."""

import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus_clone import asr
from orpheus_clone.asr import GAP_S, PACK_S, RATE, Asr, Word
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import MachineError, RecipeError
from tests import judges
from tests.conftest import DATA_SAMPLES
from tests.signals import joined, noise, samples, tone, zeros


def spoken(name: str) -> Waveform:
    waveform, _ = soundfile.read(DATA_SAMPLES / f"{name}.flac", dtype="float32")
    return np.asarray(waveform, np.float32)


@pytest.fixture(scope="module")
def whisper() -> Asr:
    return asr.load(str(judges.whisper_dir()), device="cpu")


def letters(words: Sequence[Word]) -> str:
    text = " ".join(word.text for word in words).casefold()
    return "".join(c for c in text if c.isalpha() or c == " ")


# The real model.


def test_each_waveform_gets_its_own_words_and_the_language_is_found(whisper: Asr) -> None:
    waveforms = [spoken("004"), zeros(800), spoken("008"), spoken("011")]
    seen: list[tuple[int, int]] = []
    heard = whisper.hear(waveforms, None, lambda done, of: seen.append((done, of)))
    said = [
        "the general good was at a discount",
        "",
        "the police were cautioned to prevent picture taking",
        "the researches of the police soon laid bare other suspicious facts",
    ]
    for h, text in zip(heard, said, strict=True):
        assert difflib.SequenceMatcher(None, letters(h.words), text).ratio() > 0.93
    assert {h.language for h in heard} == {"en"}
    assert seen[0] == (0, 4)
    assert seen[-1] == (4, 4)
    assert seen == sorted(seen)
    for waveform, h in zip(waveforms, heard, strict=True):
        times = [t for word in h.words for t in (word.start_s, word.end_s)]
        assert times == sorted(times)
        assert all(0 <= t <= len(waveform) / 24_000 for t in times)
        assert all(0 < word.probability <= 1 for word in h.words)


def test_words_move_with_the_sound(whisper: Asr) -> None:
    (plain,), (later,) = (
        whisper.hear([w], "en") for w in (spoken("004"), joined(zeros(1500), spoken("004")))
    )
    assert letters(plain.words) == letters(later.words)
    shifts = [b.end_s - a.end_s for a, b in zip(plain.words, later.words, strict=True)]
    assert shifts == pytest.approx([1.5] * len(shifts), abs=0.2)


def test_a_language_that_does_not_exist_is_refused(whisper: Asr) -> None:
    with pytest.raises(RecipeError, match="does not hear language 'xx'"):
        whisper.hear([zeros(100)], "xx")


# Loading.


def test_the_digest_is_of_what_lies_in_the_directory(tmp_path: Path) -> None:
    for name in asr.MODEL_FILES:
        (tmp_path / name).write_text(name)
    before = asr._digest(tmp_path, "int8")
    assert asr._digest(tmp_path, "int8") == before
    assert asr._digest(tmp_path, "float16") != before
    (tmp_path / "vocabulary.txt").write_text("a")
    assert asr._digest(tmp_path, "int8") != before


def test_a_directory_without_a_model_is_named_with_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MachineError, match=r"holds no Whisper.*model\.bin, tokenizer\.json is"):
        asr.load(str(tmp_path))


def test_a_model_that_does_not_load_is_named(tmp_path: Path) -> None:
    for name in asr.MODEL_FILES:
        (tmp_path / name).write_text("{}")
    with pytest.raises(MachineError, match="the Whisper model does not load on cpu"):
        asr.load(str(tmp_path), device="cpu")


@pytest.mark.parametrize("name", ["larg-v3", "no/such/folder"])
def test_a_name_that_means_nothing_is_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(RecipeError, match=r"neither a directory nor a known name.*large-v3"):
        asr.load(name)


def test_a_model_that_cannot_be_fetched_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MachineError, match=r"'tiny' is not on this machine.*judges\.asr=none"):
        asr.load("tiny")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(MachineError, match=r"orpheus-clone\[judges\]"):
        asr.load("base")


@pytest.mark.parametrize(("chosen", "threads"), [("3", 3), ("0", None), ("many", None)])
def test_threads_are_those_that_were_chosen_or_the_cores_there_are(
    monkeypatch: pytest.MonkeyPatch, chosen: str, threads: int | None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    assert asr._threads() == threads or 1 <= asr._threads() <= asr.MOST_THREADS


# Packing.


@given(st.lists(st.integers(1, 40), max_size=30))
@settings(deadline=None, max_examples=25)
def test_packs_hold_every_waveform_in_order_and_fit(lengths_s: list[int]) -> None:
    packs = list(asr._packs([zeros(1000 * s) for s in lengths_s]))
    assert [len(w) / RATE for pack in packs for w in pack] == lengths_s
    assert all(len(pack) == 1 or len(asr._joined(pack)) <= PACK_S * RATE for pack in packs)
    assert all(packs)


def test_a_pack_is_full_to_the_second() -> None:
    assert [len(p) for p in asr._packs([zeros(13_500), zeros(13_500)])] == [2]
    assert [len(p) for p in asr._packs([zeros(13_500), zeros(13_510)])] == [1, 1]


def word(start_s: float, end_s: float, text: str = "word") -> Word:
    return Word(text, start_s, end_s, 0.9)


def test_a_word_is_whole_though_whisper_cuts_it() -> None:
    pieces = [word(0, 1, " 5"), word(1, 2, ".15"), word(2, 3, " "), word(3, 4, " and")]
    assert asr._whole_words(pieces, "en") == [word(0, 2, "5.15"), word(3, 4, "and")]
    characters = [word(0, 1, "你"), word(1, 2, "好")]
    assert asr._whole_words(characters, "zh") == characters
    assert asr._whole_words([word(0, 1, "Well")], "en") == [word(0, 1, "Well")]


def test_words_go_to_the_waveform_in_which_they_lie() -> None:
    # Waveforms at 0-2 s and 3-5 s.
    words = [word(0.5, 1.0), word(1.9, 2.3), word(2.1, 3.3), word(4.5, 5.2)]
    assert asr._shared(words, [2.0, 2.0]) == [
        (word(0.5, 1.0), word(1.9, 2.0)),
        (word(0.0, 0.3), word(1.5, 2.0)),
    ]


def test_a_word_that_lies_whole_in_a_gap_belongs_to_nobody() -> None:
    first, second, third = asr._shared([word(2.1, 2.9), word(6.5, 7.0)], [2.0, 2.0, 2.0])
    assert first is None
    assert second is None
    assert third == (word(0.5, 1.0),)


def test_a_word_after_the_last_waveform_is_at_its_end() -> None:
    assert asr._shared([word(2.4, 2.6)], [2.0]) == [(word(2.0, 2.0),)]


def test_speech_without_words_is_not_whole() -> None:
    speech = asr._at_16k(joined(noise(300), tone(1000), noise(500), tone(1000), noise(300)))
    both = [word(0.3, 1.3), word(1.8, 2.8)]
    assert asr._is_whole(speech, both)
    assert not asr._is_whole(speech, both[:1])
    assert not asr._is_whole(speech, both[1:])
    assert not asr._is_whole(speech, [])


def test_a_word_where_all_is_quiet_is_a_neighbours() -> None:
    speech = asr._at_16k(joined(noise(3000, -70), tone(1000)))
    # Words may be off by 0.3 s: one that ends at 2.75 s may be the first of the speech.
    assert asr._is_whole(speech, [word(2.0, 2.75), word(3.0, 4.0)])
    assert not asr._is_whole(speech, [word(1.0, 2.65), word(3.0, 4.0)])


def test_more_words_than_can_be_said_are_not_whole() -> None:
    speech = asr._at_16k(tone(1000))
    assert asr._is_whole(speech, [word(0, 1)] * 11)
    assert not asr._is_whole(speech, [word(0, 1)] * 12)


# Hearing, with a scripted model.


class Scripted:
    """Hears what it is told to, and keeps how many seconds it was given each time."""

    supported_languages = ("en", "de")

    def __init__(self, *answers: list[Word], languages: Sequence[str] = ()) -> None:
        self.answers = list(answers)
        self.languages = list(languages)
        self.seconds: list[float] = []

    def transcribe(self, waveform: Waveform, **_options: Any) -> tuple[list[Any], None]:
        self.seconds.append(len(waveform) / RATE)
        words = [
            SimpleNamespace(word=f" {w.text}", start=w.start_s, end=w.end_s, probability=0.9)
            for w in self.answers.pop(0)
        ]
        return [SimpleNamespace(words=words)], None

    def detect_language(self, _waveform: Waveform) -> tuple[str, float, list[tuple[str, float]]]:
        language = self.languages.pop(0)
        return language, 0.6, [(language, 0.6), ("fr", 0.3)]


def hearer(model: Scripted) -> Asr:
    whisper: Callable[..., Asr] = asr._Whisper
    return whisper(model, "scripted", "digest")


def test_what_was_lost_at_a_joint_is_heard_again_alone() -> None:
    speech = tone(2000)
    model = Scripted([word(0, 2, "first")], [word(0, 2, "second")])
    heard = hearer(model).hear([speech, speech], "de")
    assert [h.words[0].text for h in heard] == ["first", "second"]
    assert model.seconds == [4 + GAP_S, 2]


def test_what_was_heard_alone_is_not_heard_again() -> None:
    model = Scripted([word(0, 0.5, "begins")])  # 1.5 s of sound are in no word
    (heard,) = hearer(model).hear([tone(2000)], "de")
    assert [w.text for w in heard.words] == ["begins"]
    assert model.seconds == [2]


def test_nobody_is_heard_where_nobody_speaks() -> None:
    model = Scripted([word(0, 2, "only")])
    heard = hearer(model).hear([zeros(3000), tone(2000), noise(1000, -70)], "en")
    assert [len(h.words) for h in heard] == [0, 1, 0]
    assert model.seconds == [2]


def test_without_waveforms_nothing_is_heard() -> None:
    assert hearer(Scripted()).hear([], None) == []


def test_the_language_is_that_of_most_places() -> None:
    model = Scripted(*[[word(0, 20)]] * 5, languages=["de", "en", "de", "en", "de"])
    heard = hearer(model).hear([tone(20_000)] * 5, None)
    assert {h.language for h in heard} == {"de"}


def test_a_model_of_one_language_is_not_asked_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scripted, "supported_languages", ("en",))
    (heard,) = hearer(Scripted([word(0, 2)])).hear([tone(2000)], None)
    assert heard.language == "en"
    with pytest.raises(RecipeError, match="'scripted' does not hear language 'de', only en"):
        hearer(Scripted()).hear([tone(2000)], "de")


class Lazy(Sequence[Waveform]):
    """Makes a waveform when it is asked for, and keeps which were."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        self.asked.append(index)
        return tone(10_000)


def test_lazy_waveforms_are_asked_for_once_in_order_and_few_ahead() -> None:
    lazy = Lazy(6)
    model = Scripted(*[[word(0, 10), word(11, 21)]] * 3)
    ahead: list[int] = []
    hearer(model).hear(lazy, "en", lambda done, _of: ahead.append(len(lazy.asked) - done))
    assert lazy.asked == list(range(6))
    assert max(ahead) <= 1


def test_sound_is_heard_at_16_kilohertz() -> None:
    assert len(asr._at_16k(tone(1000))) == RATE
    assert len(tone(1000)) == samples(1000) == 24_000
