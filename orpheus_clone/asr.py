"""What is said in a recording, and when: Whisper, through faster-whisper.

A judge of words, shared by prepare, train's selection and eval. The model is named (`base`,
`large-v3`, …; fetched from the hub by faster-whisper) or a directory that holds one.

Whisper always looks at 30 s, so a clip of two seconds costs as much as one of thirty. Waveforms
that follow each other are therefore heard together, with silence between them, and each word
goes to the waveform in which it lies:

    0 s        4 s 5 s     9 s 10 s                  23 s         28 s
    ├─ first ──┤   ├ second ┤   ├─ third ─────────────┤

At such a joint a word or a whole waveform is lost now and then. So each result is compared with
where the waveform is loud, and what does not fit is heard again, alone.

Decoding is greedy and without temperature, so the same waveforms give the same words.
"""

import difflib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from orpheus_clone import disk, silence
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import MachineError, NoSpeechError, RecipeError
from orpheus_clone.tokens import SAMPLE_RATE

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

Progress = Callable[[int, int], None]

REVISION = 2
"""Changes whenever this module would hear something else with the same model."""
RATE = 16_000
"""Whisper's sample rate, Hz."""
PACK_S = 28.0
"""A little less than the 30 s that Whisper looks at."""
GAP_S = 1.0
"""Silence between two waveforms that are heard together."""
BEAM = 1
MOST_THREADS = 8
"""More no longer help a model of Whisper's sizes."""
REACH_S = 0.3
"""Word times are as exact as this."""
HARDLY_S = 0.05
"""A word that touches a waveform by so little may not be in it."""
LOST_S = 0.4
"""Speech outside all words that is no mere inexactness of their times."""
SPEECH_BELOW_LOUD_DB = 20.0
MOST_WORDS_A_SECOND = 9.0
"""Nobody speaks faster; a model that repeats itself does."""
LANGUAGE_PLACES = 5
LANGUAGE_S = 10.0
"""The language is found at so many places of the material, by so much sound at each."""

WITHOUT_SPACES = frozenset(["zh", "ja", "th", "lo", "my", "yue", "km"])
"""Languages that write no spaces between words, so that a space tells nothing."""

MODEL_FILES = ("config.json", "model.bin", "tokenizer.json")
OPTIONAL_FILES = ("preprocessor_config.json", "vocabulary.json", "vocabulary.txt")


@dataclass(frozen=True)
class Word:
    """A word as it was heard; times in seconds from the start of what was listened to."""

    text: str
    """With its punctuation, without spaces around it."""
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True)
class Heard:
    """What was heard in one waveform."""

    words: tuple[Word, ...]
    language: str
    """ISO 639-1."""


class Asr(Protocol):
    """Hears words; `digest` names model and settings, so that results can be kept under it."""

    digest: str

    def hear(
        self,
        waveforms: Sequence[Waveform],
        language: str | None,
        progress: Progress = lambda _done, _of: None,
    ) -> list[Heard]:
        """Each of the 24 kHz waveforms to its words; language None: find it.

        Up to 28 s is heard at once; a longer one in stretches, at whose joints a word may be lost.
        The language is one for all of them. A waveform in which nobody speaks has no words.
        `waveforms` may be lazy: they are asked for in order, and only a few are held at a time.
        """
        ...


def load(name: str, *, device: str | None = None) -> Asr:
    """Whisper by name or directory; MachineError where it cannot be had, saying what to do.

    `device` is "cpu" or "cuda"; None takes CUDA if there is one. RecipeError for a name that
    means nothing.
    """
    try:
        from faster_whisper import WhisperModel
        from faster_whisper.transcribe import ctranslate2
    except ImportError as missing:
        raise MachineError(
            f"hearing words needs faster-whisper ({missing}); run: pip install "
            "'orpheus-clone[judges]', or do without: --set judges.asr=none"
        ) from missing
    folder = _locate(name)
    device = device or ("cuda" if ctranslate2.get_cuda_device_count() else "cpu")
    compute_type = "float16" if device == "cuda" else "int8"
    try:
        model = WhisperModel(
            str(folder), device=device, compute_type=compute_type, cpu_threads=_threads()
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise MachineError(
            f"{folder}: the Whisper model does not load on {device}: {error}"
        ) from error
    return _Whisper(model, name, _digest(folder, compute_type))


class _Whisper:
    """An `Asr`: packs waveforms, and hears again alone what was not heard whole."""

    def __init__(self, model: "WhisperModel", name: str, digest: str) -> None:
        self._model: Any = model
        self._name = name
        self.digest = digest

    def hear(
        self,
        waveforms: Sequence[Waveform],
        language: str | None,
        progress: Progress = lambda _done, _of: None,
    ) -> list[Heard]:
        """See `Asr`."""
        progress(0, len(waveforms))
        if not len(waveforms):
            return []
        language = self._language(waveforms) if language is None else self._checked(language)
        heard: list[Heard] = []
        for pack in _packs(waveforms):
            heard += [Heard(words, language) for words in self._hear_pack(pack, language)]
            progress(len(heard), len(waveforms))
        return heard

    def _hear_pack(self, pack: list[Waveform], language: str) -> list[tuple[Word, ...]]:
        results: list[tuple[Word, ...]] = [()] * len(pack)
        spoken = [i for i, samples in enumerate(pack) if _is_speech(samples)]
        shared = _shared(
            self._transcribe(_joined([pack[i] for i in spoken]), language),
            [len(pack[i]) / RATE for i in spoken],
        )
        for i, words in zip(spoken, shared, strict=True):
            # What was heard alone would be heard the same again.
            if words is None or (len(spoken) > 1 and not _is_whole(pack[i], words)):
                alone = self._transcribe(pack[i], language)
                words = tuple(_inside(word, len(pack[i]) / RATE) for word in alone)
            results[i] = words
        return results

    def _transcribe(self, samples: Waveform, language: str) -> list[Word]:
        if not len(samples):
            return []
        segments, _ = self._model.transcribe(
            samples,
            language=language,
            beam_size=BEAM,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
        )
        pieces = [
            Word(piece.word, float(piece.start), float(piece.end), float(piece.probability))
            for segment in segments
            for piece in segment.words
        ]
        return _whole_words(pieces, language)

    def _checked(self, language: str) -> str:
        known = self._model.supported_languages
        if language not in known:
            raise RecipeError(
                f"Whisper model {self._name!r} does not hear language {language!r}, only "
                f"{', '.join(sorted(known))}; name a multilingual model, such as base"
            )
        return language

    def _language(self, waveforms: Sequence[Waveform]) -> str:
        """The language with the most probability over a few places of the material."""
        if len(self._model.supported_languages) == 1:
            return str(self._model.supported_languages[0])
        total: dict[str, float] = {}
        places = np.linspace(0, len(waveforms), LANGUAGE_PLACES, endpoint=False).astype(int)
        for place in sorted(set(places.tolist())):
            _, _, probabilities = self._model.detect_language(_some(waveforms, place))
            for language, probability in probabilities:
                total[language] = total.get(language, 0.0) + probability
        return max(total, key=lambda language: total[language])


def _packs(waveforms: Sequence[Waveform]) -> Iterator[list[Waveform]]:
    """The waveforms at 16 kHz, in order, in packs that `_joined` makes no longer than `PACK_S`."""
    pack: list[Waveform] = []
    pack_s = 0.0
    for i in range(len(waveforms)):
        samples = _at_16k(waveforms[i])
        seconds = len(samples) / RATE
        if pack and pack_s + GAP_S + seconds > PACK_S:
            yield pack
            pack, pack_s = [], 0.0
        pack_s += seconds + (GAP_S if pack else 0.0)
        pack.append(samples)
    if pack:
        yield pack


def _joined(pack: Sequence[Waveform]) -> Waveform:
    """One after the other, with silence between them."""
    gap = np.zeros(round(GAP_S * RATE), np.float32)
    parts = [part for samples in pack for part in (gap, samples)][1:]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _whole_words(pieces: Sequence[Word], language: str) -> list[Word]:
    """Whisper cuts 5.15 into 5 and .15: what has no space before it goes on with its word."""
    words: list[Word] = []
    for piece in pieces:
        text = piece.text.strip()
        goes_on = not piece.text.startswith(" ") and language not in WITHOUT_SPACES
        if words and text and goes_on:
            last = words.pop()
            probability = min(last.probability, piece.probability)
            words.append(Word(last.text + text, last.start_s, piece.end_s, probability))
        elif text:
            words.append(Word(text, piece.start_s, piece.end_s, piece.probability))
    return words


def _shared(words: Sequence[Word], lengths_s: Sequence[float]) -> list[tuple[Word, ...] | None]:
    """Each word to its waveform of a `_joined` pack, with times in that waveform.

    None for both waveforms beside a gap in which a word lies whole: whose it is cannot be told.
    """
    starts_s = [sum(lengths_s[:i]) + i * GAP_S for i in range(len(lengths_s))]
    ends_s = [start_s + length_s for start_s, length_s in zip(starts_s, lengths_s, strict=True)]
    own: list[list[Word]] = [[] for _ in lengths_s]
    unclear: set[int] = set()
    for word in words:
        middle_s = (word.start_s + word.end_s) / 2
        mine = max((i for i, start_s in enumerate(starts_s) if start_s <= middle_s), default=0)
        if middle_s > ends_s[mine] and mine + 1 < len(own):
            if word.end_s > starts_s[mine + 1] + HARDLY_S:
                mine += 1  # the first word after silence is often said to begin in the silence
            elif word.start_s > ends_s[mine] - HARDLY_S:
                unclear |= {mine, mine + 1}
        own[mine].append(_inside(_moved(word, -starts_s[mine]), lengths_s[mine]))
    return [None if i in unclear else tuple(mine) for i, mine in enumerate(own)]


def _moved(word: Word, by_s: float) -> Word:
    return Word(word.text, word.start_s + by_s, word.end_s + by_s, word.probability)


def _inside(word: Word, seconds: float) -> Word:
    """With times that lie in a waveform of so many seconds."""
    start_s, end_s = (round(min(max(0.0, t), seconds), 3) for t in (word.start_s, word.end_s))
    return Word(word.text, start_s, end_s, word.probability)


def _is_speech(samples: Waveform) -> bool:
    """Whether anybody may be speaking: Whisper makes words up where nobody does."""
    try:
        silence.speech_span(samples, RATE)
    except NoSpeechError:
        return False
    return True


def _is_whole(samples: Waveform, words: Sequence[Word]) -> bool:
    """Whether the words account for what is loud, lie in it, and are no more than can be said."""
    db = silence.levels_dbfs(samples, RATE)
    is_loud = db > np.percentile(db, 95) - SPEECH_BELOW_LOUD_DB
    is_lost = is_loud.copy()
    hop_s = silence.HOP_MS / 1000
    for word in words:
        if not _between(is_loud, word.start_s, word.end_s, hop_s).any():
            return False  # a neighbour's
        _between(is_lost, word.start_s, word.end_s, hop_s)[:] = False
    too_many = len(words) > 2 + MOST_WORDS_A_SECOND * len(samples) / RATE
    return bool(is_lost.sum() * hop_s < LOST_S) and not too_many


def _between(
    hops: NDArray[np.bool_], start_s: float, end_s: float, hop_s: float
) -> NDArray[np.bool_]:
    """A view of the hops between two times, `REACH_S` further on both sides."""
    first = max(0, round((start_s - REACH_S) / hop_s))
    return hops[first : max(first, round((end_s + REACH_S) / hop_s))]


def _some(waveforms: Sequence[Waveform], place: int) -> Waveform:
    """`LANGUAGE_S` or more of sound at 16 kHz from `place` on, or what there is."""
    parts: list[Waveform] = []
    while place < len(waveforms) and sum(map(len, parts)) < LANGUAGE_S * RATE:
        parts.append(_at_16k(waveforms[place]))
        place += 1
    return _joined(parts)


def _at_16k(samples: Waveform) -> Waveform:
    import soxr

    return np.asarray(soxr.resample(samples, SAMPLE_RATE, RATE), np.float32)


def _locate(name: str) -> Path:
    """The directory of a model, fetched if need be."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _fetch(name)
    missing = [file for file in MODEL_FILES if not (folder / file).is_file()]
    if missing:
        raise MachineError(
            f"{folder} holds no Whisper model for CTranslate2: {', '.join(missing)} is missing"
        )
    return folder


def _fetch(name: str) -> Path:
    from faster_whisper.utils import available_models, download_model
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    known = available_models()
    if name not in known and name.count("/") != 1:
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise RecipeError(
            f"Whisper model {name!r} is neither a directory nor a known name; {hint}"
            f"known are: {', '.join(known)}"
        )
    try:
        return Path(download_model(name, local_files_only=True))
    except LocalEntryNotFoundError:
        pass  # not here yet
    try:
        return Path(download_model(name, local_files_only=constants.HF_HUB_OFFLINE))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise MachineError(
            f"Whisper model {name!r} is not on this machine and the hub did not give it "
            f"({type(error).__name__}); name a directory that holds one for CTranslate2, or do "
            "without: --set judges.asr=none"
        ) from error


def _digest(folder: Path, compute_type: str) -> str:
    """Of the files that make the model and of what else decides what is heard."""
    present = [file for file in MODEL_FILES + OPTIONAL_FILES if (folder / file).is_file()]
    files = [[file, disk.sha256_file(folder / file)] for file in present]
    return disk.sha256_json([REVISION, compute_type, files])


def _threads() -> int:
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    if chosen.isdecimal() and int(chosen):
        return int(chosen)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(usable or 1, MOST_THREADS)
