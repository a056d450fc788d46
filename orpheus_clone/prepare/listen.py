"""What is said in every recording: the ASR hears windows of all of them, a batch at a time.

A window is a stretch of a recording of at most 28 s. What was heard is kept window by window, so a
killed run goes on and a new recording is all that is listened to.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from orpheus_clone.asr import Asr, Heard, Word
from orpheus_clone.audio import Waveform
from orpheus_clone.prepare import decode
from orpheus_clone.prepare.decode import read_span
from orpheus_clone.prepare.memory import Memory, key_of
from orpheus_clone.prepare.segment import Span, windows
from orpheus_clone.prepare.source import Source

BATCH_S = 600.0
"""As much is listened to between two times that results are kept."""
WHOLE_S = 28.0
"""A recording that is not longer is one window."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Window:
    source: Source
    span: Span
    key: str


class _Waveforms(Sequence[Waveform]):
    """Read when they are asked for: a batch need not be in memory."""

    def __init__(self, batch: Sequence[_Window]) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return len(self._batch)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        window = self._batch[index]
        return read_span(window.source.copy, window.span.start_s, window.span.end_s)


def listen(
    sources: Sequence[Source],
    asr: Asr,
    language: str | None,
    memory: Memory,
    progress: Progress,
) -> tuple[dict[str, tuple[Word, ...]], str]:
    """The words of each source by its id, in its own time; the language, given or heard."""
    everything = [window for source in sources for window in _windows(source, asr, language)]
    kept = [memory.recall("words", window.key) for window in everything]
    found = language or next((known["language"] for known in kept if known), None)
    done = 0
    progress(0, len(everything))
    missing = [window for window, known in zip(everything, kept, strict=True) if known is None]
    for batch in _batches(missing):
        heard = asr.hear(_Waveforms(batch), found)
        found = found or heard[0].language
        for window, said in zip(batch, heard, strict=True):
            memory.keep("words", window.key, _plain(said))
        done += len(batch)
        progress(done, len(everything))
    progress(len(everything), len(everything))
    words: dict[str, tuple[Word, ...]] = {source.id: () for source in sources}
    for window in everything:
        known = memory.recall("words", window.key)
        assert known is not None
        words[window.source.id] += tuple(_later(w, window.span.start_s) for w in known["words"])
    return words, found or "en"


def _windows(source: Source, asr: Asr, language: str | None) -> list[_Window]:
    if source.seconds <= WHOLE_S:
        spans = [Span(0.0, source.seconds)]
    else:
        spans = windows(source.copy, source.speech())
    return [
        _Window(
            source,
            span,
            key_of(decode.REVISION, asr.digest, language, source.digest, span.start_s, span.end_s),
        )
        for span in spans
    ]


def _batches(windows: Sequence[_Window]) -> Iterator[list[_Window]]:
    batch: list[_Window] = []
    seconds = 0.0
    for window in windows:
        batch.append(window)
        seconds += window.span.end_s - window.span.start_s
        if seconds >= BATCH_S:
            yield batch
            batch, seconds = [], 0.0
    if batch:
        yield batch


def _plain(heard: Heard) -> dict[str, object]:
    words = [
        [w.text, round(w.start_s, 3), round(w.end_s, 3), round(w.probability, 3)]
        for w in heard.words
    ]
    return {"language": heard.language, "words": words}


def _later(word: list[object], by_s: float) -> Word:
    text, start_s, end_s, probability = word
    assert isinstance(text, str)
    return Word(text, float(start_s) + by_s, float(end_s) + by_s, float(probability))  # type: ignore[arg-type]
