"""Every window is heard once, however often and in whatever company it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from orpheus_clone import audio
from orpheus_clone.asr import Heard, Progress, Word
from orpheus_clone.audio import Waveform
from orpheus_clone.prepare import listen as module
from orpheus_clone.prepare.listen import listen
from orpheus_clone.prepare.memory import Memory
from orpheus_clone.prepare.segment import Span
from orpheus_clone.prepare.source import Source
from orpheus_clone.prepare.transcripts import Recording
from tests.signals import tone


@dataclass
class Clerk:
    """An ASR that hears one word, as long as the waveform is."""

    digest: str = "clerk"
    heard: list[float] = field(default_factory=list)
    languages: list[str | None] = field(default_factory=list)

    def hear(
        self,
        waveforms: Sequence[Waveform],
        language: str | None,
        progress: Progress = lambda _done, _of: None,
    ) -> list[Heard]:
        lengths = [len(waveform) / 24_000 for waveform in waveforms]
        self.heard += lengths
        self.languages.append(language)
        return [Heard((Word("word", 0.0, s, 0.9),), language or "de") for s in lengths]


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    made = []
    for n, ms in enumerate((500, 700, 900)):
        copy = tmp_path / f"{n}.flac"
        audio.write(copy, tone(ms))
        made.append(Source(Recording(f"r{n}", copy, None), f"{n}" * 64, copy, ms / 1000))
    return made


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "memory")


def hear(
    sources: list[Source], asr: Clerk, memory: Memory, language: str | None = "en"
) -> dict[str, tuple[Word, ...]]:
    return listen(sources, asr, language, memory, lambda _done, _of: None)[0]


def test_the_words_of_each_recording_are_told_by_its_id(
    sources: list[Source], memory: Memory
) -> None:
    words = hear(sources, Clerk(), memory)
    assert {name: word.end_s for name, (word,) in words.items()} == {
        "r0": 0.5,
        "r1": 0.7,
        "r2": 0.9,
    }


def test_what_was_heard_once_is_not_listened_to_again(
    sources: list[Source], memory: Memory
) -> None:
    first = hear(sources[:2], Clerk(), memory)
    again = Clerk()
    assert hear(sources, again, memory).items() >= first.items()
    assert again.heard == [0.9]


def test_another_model_or_language_hears_all_of_it(sources: list[Source], memory: Memory) -> None:
    hear(sources, Clerk(), memory)
    other, german = Clerk("other"), Clerk()
    hear(sources, other, memory)
    hear(sources, german, memory, "de")
    assert len(other.heard) == len(german.heard) == 3


def test_a_language_that_was_found_holds_for_what_follows(
    sources: list[Source], memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_S", 0.1)
    clerk = Clerk()
    _, language = listen(sources, clerk, None, memory, lambda _done, _of: None)
    assert (language, clerk.languages) == ("de", [None, "de", "de"])
    assert listen(sources, Clerk(), None, memory, lambda _done, _of: None)[1] == "de"


def test_what_was_heard_before_a_kill_is_kept(
    sources: list[Source], memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_S", 0.1)

    def until_the_second(done: int, of: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        listen(sources, Clerk(), "en", memory, until_the_second)
    after = Clerk()
    hear(sources, after, memory)
    assert after.heard == [0.9]


def test_the_words_of_a_long_recording_are_in_its_own_time(
    sources: list[Source], memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WHOLE_S", 0.8)
    monkeypatch.setattr(module, "windows", lambda *_: [Span(0.0, 0.4), Span(0.5, 0.9)])
    monkeypatch.setattr(Source, "speech", lambda _: np.zeros(1, np.float32))
    words = hear(sources, Clerk(), memory)["r2"]
    assert [(word.start_s, word.end_s) for word in words] == [(0.0, 0.4), (0.5, 0.9)]


def test_an_added_recording_does_not_change_the_language_that_was_found(
    sources: list[Source], memory: Memory
) -> None:
    listen(sources[:2], Clerk(), None, memory, lambda _done, _of: None)
    later = Clerk()
    _, language = listen(sources, later, None, memory, lambda _done, _of: None)
    assert (language, later.languages, later.heard) == ("de", ["de"], [0.9])
