"""Text that is to be spoken: cleaned, checked, and cut into utterances.

Nothing is dropped in silence: a text that holds control tokens or nothing to say is refused.
"""

import re
import unicodedata

from orpheus_clone.errors import TextError

MAX_UTTERANCE_CHARS = 220
"""About 15 s of speech at 15 characters a second: inside what clips of 20 s taught the voice."""

_CONTROL_TOKEN = re.compile(r"<\|[^|>]{0,64}\|>|<custom_token_\d+>")
_TAG = re.compile(r"<([a-z]{2,16})>")
_SENTENCE_END = re.compile(r"(?<=[.!?…。！？])[\"'”’)\]]*\s+|(?<=[。！？])")
_CLAUSE_END = re.compile(r"(?<=[,;:])\s+|(?<=[，、；：])\s*")


def clean(text: str, tags: tuple[str, ...] = ()) -> str:
    """One line of NFC text with single spaces; `tags` are the emotion tags the base knows.

    Raises TextError for control tokens and for text with no letter, digit or known tag.
    """
    line = " ".join(unicodedata.normalize("NFC", text).split())
    found = _CONTROL_TOKEN.search(line)
    if found:
        raise TextError(f"the text contains the control token {found.group()!r}; take it out")
    control = next((c for c in line if unicodedata.category(c) in ("Cc", "Cs")), None)
    if control is not None:
        raise TextError(f"the text contains the control character {control!r}; take it out")
    known_tag = any(tag in tags for tag in _TAG.findall(line))
    if not known_tag and not any(unicodedata.category(c)[0] in "LN" for c in _TAG.sub("", line)):
        raise TextError(f"there is nothing to say in {text[:60]!r}: it has no letter and no digit")
    return line


def utterances(text: str, longest: int = MAX_UTTERANCE_CHARS) -> list[str]:
    """Cleaned text cut into pieces of at most `longest` characters, none empty.

    Sentences are packed together while they fit; one that is too long is cut after a comma, and
    failing that at a space. Joined by spaces, the pieces hold every word of the text in order.
    """
    pieces: list[str] = []
    for sentence in _split(text, longest):
        if pieces and len(pieces[-1]) + 1 + len(sentence) <= longest:
            pieces[-1] += " " + sentence
        else:
            pieces.append(sentence)
    return [piece for piece in pieces if any(c.isalnum() for c in piece)] or pieces[:1]


def _split(text: str, longest: int) -> list[str]:
    """Sentences, and parts of those that are longer than `longest`."""
    parts: list[str] = []
    for sentence in _cut(text, _SENTENCE_END):
        if len(sentence) <= longest:
            parts.append(sentence)
            continue
        for clause in _cut(sentence, _CLAUSE_END):
            parts.extend(_wrap(clause, longest))
    return parts


def _cut(text: str, at: re.Pattern[str]) -> list[str]:
    """`text` cut where `at` matches; what matched stays with the piece before it."""
    pieces, start = [], 0
    for match in at.finditer(text):
        pieces.append(text[start : match.end()].strip())
        start = match.end()
    pieces.append(text[start:].strip())
    return [piece for piece in pieces if piece]


def _wrap(clause: str, longest: int) -> list[str]:
    """`clause` in lines of at most `longest` characters, cut at spaces where there are any."""
    lines: list[str] = []
    for word in clause.split(" "):
        for start in range(0, len(word), longest):
            part = word[start : start + longest]
            if lines and start == 0 and len(lines[-1]) + 1 + len(part) <= longest:
                lines[-1] += " " + part
            else:
                lines.append(part)
    return lines
