"""A text that may still be coming, and the utterances that it is spoken in.

    write ─▶ "…Wait for me. I am com"           two sentences, a flush or the end start it
                  │          └ not settled yet
             sentences ─▶ packed to what a model speaks well ─▶ take, take, …

Sentences are found by sentencex (Wikimedia, MIT). What it cuts too much, for a voice, is put
together again: a cut inside a word, before a small letter, or after the number of a list. A cut is
settled once the word after it is whole, since that word can undo it. At most `LONGEST` letters wait
for that, so that a text costs what it is long, whatever is in it.
"""

import asyncio
import re
from collections import deque
from collections.abc import Iterable
from itertools import accumulate, takewhile
from typing import Self

from sentencex import segment

from orpheus_clone.errors import TextError
from orpheus_clone.text import letters, letters_of

LONGEST = 220
"""`text.letters`; about 15 s of speech: inside what clips of 20 s taught the voice."""
PACKED = 110
"""Sentences are packed up to here, so that an utterance and the one before it fit in `LONGEST`."""
START_SENTENCES = 2
AT_ONCE = 1000
"""Characters; what sentencex takes grows with the square of some texts."""

_CLAUSE_END = re.compile(r"(?<=[,;:])\s+|(?<=[，、；：])\s*")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])")
_LIST_NUMBER = re.compile(r"\s*\d{1,3}[.)]\s*")
_SPACE = re.compile(r"\s+")
_WIDE = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")
"""Of a script that is written without spaces."""
_LAST_OF_WORD = re.compile(rf"\w(?=\W)|{_WIDE.pattern}")


class Script:
    """Written at one end, spoken from the other; not for two speakers."""

    def __init__(self, language: str = "en", *, start_sentences: int = START_SENTENCES) -> None:
        """`start_sentences` is how many must be whole before the first is spoken."""
        self._language = language
        self._start = start_sentences
        self._ready: deque[str] = deque()
        """Settled sentences, the next to be spoken first."""
        self._tail = ""
        self._flushed = 0
        """How many of the ready are spoken without waiting."""
        self._is_speaking = False
        self._is_ended = False
        self._news = asyncio.Event()

    @classmethod
    def of(cls, text: str, language: str = "en") -> Self:
        """A text that is all there."""
        script = cls(language)
        script.write(text)
        script.end()
        return script

    def write(self, text: str) -> None:
        """More text, cut anywhere; TextError after the end."""
        if self._is_ended:
            raise TextError("the text has ended; write what follows into another")
        for at in range(0, len(text), AT_ONCE):
            self._tail += text[at : at + AT_ONCE]
            words = (word.start() for word in _LAST_OF_WORD.finditer(self._tail))
            self._cut_off(max(words, default=0))
        self._news.set()

    def flush(self) -> None:
        """Speak all that was written, without waiting for more."""
        self._cut_off(len(self._tail))
        self._flushed = len(self._ready)
        self._is_speaking = bool(self._ready)
        self._news.set()

    def end(self) -> None:
        """Nothing more is written."""
        self._is_ended = True
        self.flush()

    @property
    def is_over(self) -> bool:
        """Whether all was taken, and no more will come."""
        return self._is_ended and not self._ready

    @property
    def held(self) -> int:
        """Characters that were written and not taken yet."""
        return len(self._tail) + sum(map(len, self._ready))

    @property
    def is_there(self) -> bool:
        """Whether an utterance is to be spoken now."""
        may_speak = self._is_speaking or self._flushed > 0 or len(self._ready) >= self._start
        return bool(self._ready) and may_speak

    def take(self) -> str | None:
        """The next utterance, if one is to be spoken now."""
        if not self.is_there:
            return None
        to_go = self._flushed or len(self._ready)
        taken = self._ready.popleft()
        to_go -= 1
        while to_go and letters(f"{taken} {self._ready[0]}") <= PACKED:
            taken += " " + self._ready.popleft()
            to_go -= 1
        # What is written after a flush begins anew.
        self._is_speaking = not self._flushed or to_go > 0
        self._flushed = to_go if self._flushed else 0
        return taken

    async def next(self) -> str | None:
        """The next utterance, once it is to be spoken; None after the last."""
        while (taken := self.take()) is None and not self._is_ended:
            self._news.clear()
            await self._news.wait()
        return taken

    def _cut_off(self, settled: int) -> None:
        """Make ready the sentences that end before `settled`, and what is too long to wait."""
        at = end = 0
        waits = len(self._tail) - len(_sums(reversed(self._tail)))
        for sentence in sentences(self._tail, self._language):
            end += len(sentence)
            while at < end and (end <= settled or at < waits):
                cut = at + _cut(self._tail[at:end])
                self._add(self._tail[at:cut])
                at = cut
        self._tail = self._tail[at:]

    def _add(self, part: str) -> None:
        if any(c.isalnum() for c in part):
            self._ready.append(" ".join(part.split()))


def sentences(text: str, language: str = "en") -> list[str]:
    """`text` in sentences, each with the white space after it; joined, they are `text`."""
    cut: list[str] = []
    for piece in segment(language, text):
        if cut and _belongs(cut[-1], piece):
            cut[-1] += piece
        else:
            cut.append(piece)
    return cut or [""]


def _belongs(before: str, piece: str) -> bool:
    """Whether there should have been no cut between the two."""
    first, last = piece[:1], before[-1:]
    if not piece.strip() or first.islower() or _LIST_NUMBER.fullmatch(before):
        return True
    return not (last.isspace() or first.isspace() or _WIDE.match(first) or _WIDE.match(last))


def _cut(text: str) -> int:
    """Where a part of `text`, at most `LONGEST`, ends: with it, a sentence, a clause, a word."""
    sums = _sums(text)
    most = len(sums)
    if most == len(text):
        return most
    for end in (_SENTENCE_END, _CLAUSE_END, _SPACE):
        # The first of the line may be a short word: half a part is worth a better end.
        ends = [at.end() for at in end.finditer(text[: most + 1]) if at.end() <= most]
        if ends and (sums[ends[-1] - 1] > LONGEST / 2 or end is _SPACE):
            return ends[-1]
    return max(1, most)


def _sums(characters: Iterable[str]) -> list[int]:
    """Of the letters of each and those before it, as far as they are at most `LONGEST`."""
    return list(takewhile(LONGEST.__ge__, accumulate(map(letters_of, characters))))
