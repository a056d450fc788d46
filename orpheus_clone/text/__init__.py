"""Text that is to be spoken: cleaned, checked, put into words, and how long it may take.

    clean ─▶ normalise        what a voice is trained on and what it is asked to say, alike
      └ unknown_tags          emotion tags that the base does not know, each with the nearest

Nothing is dropped in silence: a text that holds control tokens or nothing to say is refused.
"""

import difflib
import re
import unicodedata
from functools import cache
from itertools import groupby

from orpheus_clone.errors import TextError
from orpheus_clone.text.spoken import can_normalise, normalise

__all__ = [
    "can_normalise",
    "clean",
    "is_spoken",
    "letters",
    "letters_of",
    "longest_s",
    "normalise",
    "unknown_tags",
]

LETTERS_A_SECOND = 6.0
LETTERS_OF_A_SYMBOL = 5
LETTERS_OF_A_TAG = 20
SILENCE_S = 2.0

_CONTROL_TOKEN = re.compile(r"<\|[^|>]{0,64}\|>|<custom_token_\d+>")
_MOST_MARKS = 30
"""In a row, as in Unicode's stream-safe format: NFC's time grows with the square of them."""
_TAG = re.compile(r"<([a-z]{2,16})>")
_MEANT_AS_TAG = re.compile(r"</?([A-Za-z][A-Za-z_-]{1,24}(?: [a-z]{1,16})?)/?>")
_NEAR = 0.7
"""Of difflib's ratio: "laughter" is 0.77 from "laugh", "giggle" 0.36 from its nearest."""
_UNREAD = frozenset(".,:;!?…-–—()[]{}'\"‘’“”«»¿¡|_")


def clean(text: str, tags: tuple[str, ...] = ()) -> str:
    """One line of NFC text with single spaces; `tags` are the emotion tags the base knows.

    Raises TextError for control tokens, for more marks on a letter than any language has, and for
    text with no letter, digit or known tag.
    """
    for is_mark, run in groupby(text, lambda c: unicodedata.combining(c) > 0):
        if is_mark and sum(1 for _ in run) > _MOST_MARKS:
            raise TextError(
                f"the text has more than {_MOST_MARKS} marks on one letter; take them out"
            )
    line = " ".join(unicodedata.normalize("NFC", text).split())
    found = _CONTROL_TOKEN.search(line)
    if found:
        raise TextError(f"the text contains the control token {found.group()!r}; take it out")
    control = next((c for c in line if unicodedata.category(c) in ("Cc", "Cs")), None)
    if control is not None:
        raise TextError(f"the text contains the control character {control!r}; take it out")
    if not is_spoken(line, tags):
        raise TextError(f"there is nothing to say in {text[:60]!r}: it has no letter and no digit")
    return line


def is_spoken(line: str, tags: tuple[str, ...] = ()) -> bool:
    """Whether there is anything to say in it: a letter, a digit or a tag that the base knows."""
    if any(tag in tags for tag in _TAG.findall(line)):
        return True
    return any(unicodedata.category(c)[0] in "LN" for c in _TAG.sub("", line))


def unknown_tags(line: str, tags: tuple[str, ...]) -> dict[str, str | None]:
    """What looks like a tag and is none of `tags`, as written, with the nearest that is, or None.

    `<laughs>` is {"laughs": "laugh"}, `<giggle>` {"giggle": None}. A closing `</laugh>` and a
    `<Laugh>` are no tags of a base either.
    """
    unknown: dict[str, str | None] = {}
    for found in _MEANT_AS_TAG.finditer(line):
        name = found.group()[1:-1]
        if name not in tags:
            near = difflib.get_close_matches(found[1].lower(), tags, n=1, cutoff=_NEAR)
            unknown[name] = near[0] if near else None
    return unknown


def letters(spoken: str) -> int:
    """How many letters' time it takes to say `spoken`, at about 15 a second.

    A digit or a symbol is read as a word, and so is a character of a script without spaces.
    """
    return sum(map(letters_of, _TAG.sub(LETTERS_OF_A_TAG * "a", spoken)))


def longest_s(spoken: str) -> float:
    """Seconds that no voice needs to say `spoken`: what goes on longer has lost its way.

    A slow reader says nine letters a second; this allows six, and two seconds of silence around
    them.
    """
    return SILENCE_S + letters(spoken) / LETTERS_A_SECOND


@cache
def letters_of(character: str) -> int:
    """`letters` of a single one."""
    is_plain = unicodedata.category(character)[0] in "LMZC" or character in _UNREAD
    is_wide = unicodedata.east_asian_width(character) in "WF"
    return 1 if is_plain and not is_wide else LETTERS_OF_A_SYMBOL
