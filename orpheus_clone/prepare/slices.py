"""Which part of a given text was said between two words that were heard.

    text     It was Mr. Dent's idea — I think. (Laughs.) Then he left.
    heard    It was Mr.  dense idea,  I think.           Then he left.
                                                ^ a cut between two heard words

Text and heard words are aligned word by word, ignoring case and punctuation: common runs first
(difflib), the rest by Levenshtein. So each place between two heard words gets a place between two
words of the text. Where words of the text were not heard just there, the cut comes after the last
of them that ends a sentence; without one, before them. Nothing of the text is lost or said twice.

Only a run of text that cannot have been said in the time (over 25 letters a second, and 40 more)
is left out: a chapter that was not recorded must not end up in the clip beside it. A shorter run
stays, heard or not: the check of text against sound judges it.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import accumulate

from orpheus_clone.asr import Word
from orpheus_clone.script import sentences

LETTERS_A_SECOND = 25.0
LETTERS_MORE = 40
ANCHOR = 3
_Edit = tuple[int, int, int, int]
"""Half-open ranges of the text's words and of the heard words; one of them may be empty."""
_WIDE = "\u3040-\u30ff\u3400-\u9fff"
_TOKEN = re.compile(rf"[{_WIDE}]|[^\s{_WIDE}]+")


def ends_after(pieces: Sequence[str], language: str) -> set[int]:
    """After how many of these words or cues a sentence ends; after none and after all, too."""
    offsets = [0, *accumulate(len(piece) + 1 for piece in pieces)]
    ends = _sentence_ends(" ".join(pieces), language)
    within = (bisect_left(offsets, end) for end in ends)
    return {0, len(pieces)} | {
        count for count, end in zip(within, ends, strict=True) if end == offsets[count] - 1
    }


def _sentence_ends(text: str, language: str) -> list[int]:
    """Offsets of the ends of sentences, without the space after them."""
    ends, at = [], 0
    for sentence in sentences(text, language):
        ends.append(at + len(sentence.rstrip()))
        at += len(sentence)
    return ends


@dataclass(frozen=True)
class _Token:
    text: str
    start: int
    """Offset in the whole text."""
    is_said: bool = True

    @property
    def letters(self) -> str:
        """What is compared: without case and punctuation."""
        folded = unicodedata.normalize("NFKC", self.text).casefold()
        return "".join(c for c in folded if unicodedata.category(c)[0] in "LMN")


class Slices:
    """A text, cut where the heard words are."""

    def __init__(self, text: str, words: Sequence[Word], until_s: float, language: str) -> None:
        """`until_s`: where the recording's speech ends."""
        self._text = text
        tokens = [token for token in _tokens(text) if token.letters]
        heard = [
            (token.letters, i)
            for i, word in enumerate(words)
            for token in _tokens(word.text)
            if token.letters
        ]
        edits = _edits([token.letters for token in tokens], [letters for letters, _ in heard])
        self._tokens = tokens
        starts = [token.start for token in tokens]
        ends = {bisect_left(starts, end) for end in _sentence_ends(text, language)}
        self._ends = ends | {0, len(tokens)}
        self._mark_unsaid(edits, [i for _, i in heard], words, until_s)
        self._places = self._after_words(edits, [i for _, i in heard], len(words))

    def ends_sentence(self, after: int) -> bool:
        """Whether a sentence of the text ends after so many heard words."""
        return self._places[after] in self._ends

    def between(self, first: int, last: int) -> str:
        """The text of the heard words from `first` up to but not including `last`."""
        said = range(self._places[first], self._places[last])
        return " ".join("".join(map(self._written, said)).split())

    def _written(self, at: int) -> str:
        """A word with the punctuation after it, and before the text's first."""
        token = self._tokens[at]
        if not token.is_said:
            return ""
        following = self._tokens[at + 1].start if at + 1 < len(self._tokens) else len(self._text)
        return self._text[token.start if at else 0 : following]

    def _mark_unsaid(
        self, edits: Sequence[_Edit], word_of: Sequence[int], words: Sequence[Word], until_s: float
    ) -> None:
        """Runs of text that were not heard and cannot have been said in the time there was."""
        for begin, end, at, to in edits:
            if at < to:
                continue
            since_s = words[word_of[at - 1]].end_s if at else 0.0
            next_s = words[word_of[at]].start_s if at < len(word_of) else until_s
            letters = sum(len(token.letters) for token in self._tokens[begin:end])
            if letters > LETTERS_MORE + LETTERS_A_SECOND * max(0.0, next_s - since_s):
                for i in range(begin, end):
                    self._tokens[i] = replace(self._tokens[i], is_said=False)

    def _after_words(self, edits: Sequence[_Edit], word_of: Sequence[int], words: int) -> list[int]:
        """For each number of heard words, how many words of the text lie before the same place."""
        lowest, highest = [0] * (len(word_of) + 1), [0] * (len(word_of) + 1)
        for begin, end, at, to in edits:
            if at == to:
                highest[at] = end
            for k in range(1, to - at + 1):
                lowest[at + k] = highest[at + k] = begin + round(k * (end - begin) / (to - at))
        after = [0] * (words + 1)
        for n, i in enumerate(word_of, start=1):
            after[i + 1] = self._place(lowest[n], highest[n])
        for i in range(1, words + 1):  # a word without letters ends where the one before it does
            after[i] = max(after[i], after[i - 1])
        after[-1] = len(self._tokens)
        return after

    def _place(self, low: int, high: int) -> int:
        """After the last of the unheard words that ends a sentence, or before all of them."""
        return next((at for at in range(high, low, -1) if at in self._ends), low)


def _tokens(text: str) -> list[_Token]:
    return [_Token(m.group(), m.start()) for m in _TOKEN.finditer(text)]


def _edits(text: Sequence[str], heard: Sequence[str]) -> list[_Edit]:
    """Consecutive stretches of both that belong together.

    Common runs of at least `ANCHOR` words are found first, as Levenshtein alone would as soon
    scatter what was heard over a chapter that was not.
    """
    blocks = SequenceMatcher(None, text, heard).get_matching_blocks()
    anchors = [(b.a, b.b, b.size) for b in blocks if b.size >= ANCHOR]
    edits: list[_Edit] = []
    at, to = 0, 0
    for a, b, size in [*anchors, (len(text), len(heard), 0)]:
        edits += _levenshtein(text[at:a], heard[to:b], at, to)
        if size:
            edits.append((a, a + size, b, b + size))
        at, to = a + size, b + size
    return edits


def _levenshtein(text: Sequence[str], heard: Sequence[str], at: int, to: int) -> list[_Edit]:
    from rapidfuzz.distance import Levenshtein

    return [
        (at + code.src_start, at + code.src_end, to + code.dest_start, to + code.dest_end)
        for code in Levenshtein.opcodes(text, heard)
    ]
