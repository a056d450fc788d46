"""A text that may still be coming, and the utterances that it is spoken in.

    write ─▶ "…Wait for me. I am com"           two sentences, a flush or the end start it
                  │          └ not settled yet
             sentences ─▶ packed to what a model speaks well ─▶ take, take, …

Sentences are found by sentencex (Wikimedia, MIT). What it cuts too much, for a voice, is put
together again: a cut inside a word, before a small letter, or after the number of a list. A cut is
settled once the word after it is whole, since that word can undo it.
"""

import asyncio
import re
from bisect import bisect_right
from collections import deque
from itertools import accumulate
from typing import Self

from sentencex import segment

from orpheus_clone.errors import TextError
from orpheus_clone.text import letters

LONGEST = 220
"""`text.letters`; about 15 s of speech: inside what clips of 20 s taught the voice."""
PACKED = 110
"""Sentences are packed up to here, so that an utterance and the one before it fit in `LONGEST`."""
START_SENTENCES = 2

_CLAUSE_END = re.compile(r"(?<=[,;:])\s+|(?<=[，、；：])\s*")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])")
_LIST_NUMBER = re.compile(r"\s*\d{1,3}[.)]\s*")
_SPACE = re.compile(r"\s+")
_WIDE = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")
"""Of a script that is written without spaces."""
_WHOLE_WORD = re.compile(rf"\w[^\w]|{_WIDE.pattern}")


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
        self._tail += text
        for sentence in _settled(self._tail, self._language):
            self._add(sentence)
            self._tail = self._tail[len(sentence) :]
        while letters(sentences(self._tail, self._language)[0]) > LONGEST:
            cut = _cut(self._tail)  # nobody waits for an end that may never come
            self._add(self._tail[:cut])
            self._tail = self._tail[cut:]
        self._news.set()

    def flush(self) -> None:
        """Speak all that was written, without waiting for more."""
        for sentence in sentences(self._tail, self._language):
            self._add(sentence)
        self._tail = ""
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

    def _add(self, sentence: str) -> None:
        """Make a sentence, or the parts of one that is too long, ready to be spoken."""
        while sentence:
            cut = _cut(sentence)
            part = " ".join(sentence[:cut].split())
            if any(c.isalnum() for c in part):
                self._ready.append(part)
            sentence = sentence[cut:]


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


def _settled(text: str, language: str) -> list[str]:
    """The sentences at the beginning of `text` that no further text can change."""
    settled, at = [], 0
    for sentence in sentences(text, language):
        at += len(sentence)
        if not _WHOLE_WORD.search(text, at):
            break
        settled.append(sentence)
    return settled


def _cut(text: str) -> int:
    """Where a part of `text`, at most `LONGEST`, ends: with it, a sentence, a clause, a word."""
    sums = list(accumulate(map(letters, text)))
    most = bisect_right(sums, LONGEST)
    if most == len(text):
        return most
    for end in (_SENTENCE_END, _CLAUSE_END, _SPACE):
        # The first of the line may be a short word: half a part is worth a better end.
        ends = [at.end() for at in end.finditer(text[: most + 1]) if at.end() <= most]
        if ends and (sums[ends[-1] - 1] > LONGEST / 2 or end is _SPACE):
            return ends[-1]
    return max(1, most)
