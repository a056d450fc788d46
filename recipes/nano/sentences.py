"""What the corpus says: sentences over two hundred words, made by a small grammar from a seed.

Half of them are sentences; the others are runs of words in any order, so that no word is learnt
only beside the words that grammar puts beside it. Numbers are never written as digits.
"""

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

WORDS = tuple(Path(__file__).with_name("words.txt").read_text(encoding="utf-8").split())

LIST = 5
DRAWN = 200
"""Lines that `covering` chooses the next from."""

PEOPLE = ("man", "woman", "girl", "child", "friend", "mother", "father", "brother", "sister")
ANIMALS = ("bird", "cat", "dog", "fish")
THINGS = (
    "book", "bread", "car", "coffee", "door", "hand", "heart", "house", "letter",
    "music", "name", "room", "song", "story", "table", "tea", "train", "tree", "voice", "water",
    "window", "word", "light", "place", "work",
)  # fmt: skip
PLACES = (
    "garden", "house", "river", "road", "room", "street", "table", "tree", "water", "window",
    "train", "car", "door",
)  # fmt: skip
SKIES = ("sun", "moon", "rain", "snow", "wind", "sky", "winter", "river")
ADJECTIVES = (
    "black", "blue", "cold", "dark", "good", "great", "green", "happy", "hot", "kind", "late",
    "little", "long", "new", "old", "quiet", "sad", "small", "warm",
    "young", "early", "fast",
)  # fmt: skip
WHOSE = ("my", "your", "his", "her", "our", "their", "the", "this", "that", "a", "each")
COUNTS = ("two", "three", "five", "ten", "all")
WHO = ("i", "you", "we", "they")
DO = (
    "ask", "call", "close", "eat", "find", "get", "give", "hear", "help", "know",
    "learn", "leave", "like", "look at", "love", "make", "open", "play", "read", "say", "see",
    "sing", "speak of", "take", "tell", "think of", "wait for", "want", "write",
)  # fmt: skip
BE = ("come", "go", "play", "read", "sing", "speak", "stay", "stop", "wait")
MAY = ("can", "will", "did not", "do not", "will never", "can still")
WHEN = (
    "now", "today", "tomorrow", "soon", "again", "at night", "in the morning", "in the evening",
    "each day", "early", "late", "all day", "in winter", "here", "there", "at home",
    "all day and night",
)  # fmt: skip
NEAR = ("in", "near", "under", "by", "on", "at", "from", "into")
IS = ("is", "was", "is not", "was not", "is still", "was always", "will be", "is never")
QUESTIONS = ("when", "where", "why", "how")
BEFORE = ("hello", "please", "yes", "no", "thank you", "and", "but", "now", "today", "if not")


def make(count: int, seed: int) -> list[str]:
    """`count` different lines, the same for the same seed on every machine."""
    rng = random.Random(seed)
    lines: dict[str, None] = {}
    while len(lines) < count:
        line = _sentence(rng) if rng.random() < 0.5 else _run(rng)
        lines[line] = None
    return list(lines)


def covering(seed: int) -> Iterator[str]:
    """Different lines without end, chosen so that no word lags behind the others."""
    rng = random.Random(seed)
    counts = Counter[str]()
    seen: set[str] = set()
    for level in itertools.count(1):
        while missing := {word for word in WORDS if counts[word] < level}:
            drawn = [_sentence(rng) if rng.random() < 0.8 else _run(rng) for _ in range(DRAWN)]
            best = max(
                (line for line in drawn if line not in seen),
                key=lambda line: len(missing & set(words_of(line))) / (3 + len(words_of(line))),
            )
            seen.add(best)
            counts.update(words_of(best))
            yield best


def lists(seed: int) -> Iterator[str]:
    """Five words, each a sentence, which are said one by one; every forty lists, every word."""
    rng = random.Random(seed)
    while True:
        order = rng.sample(WORDS, len(WORDS))
        for start in range(0, len(order), LIST):
            yield " ".join(_written(word, ".") for word in order[start : start + LIST])


def words_of(line: str) -> list[str]:
    """The bare words of a line, as `WORDS` has them."""
    return "".join(c if c.isalpha() else " " for c in line.lower()).split()


def _run(rng: random.Random) -> str:
    words = [rng.choice(WORDS) for _ in range(rng.randint(1, 7))]
    return _written(" ".join(words), ".")


def _sentence(rng: random.Random) -> str:
    kind = rng.randrange(8)
    when = f" {rng.choice(WHEN)}" if rng.random() < 0.4 else ""
    before = f"{rng.choice(BEFORE)}, " if rng.random() < 0.2 else ""
    may = rng.choice(MAY)
    match kind:
        case 0:
            body = f"{_someone(rng)} {may} {rng.choice(DO)} {_something(rng)}{when}"
        case 1:
            body = f"{_someone(rng)} {may} {rng.choice(BE)} {_somewhere(rng)}{when}"
        case 2:
            body = f"{_something(rng)} {rng.choice(IS)} {_like(rng)}{when}"
        case 3:
            body = f"the {rng.choice(SKIES)} {rng.choice(IS)} {_like(rng)}{when}"
        case 4:
            body = (
                f"{rng.choice(QUESTIONS)} will {_someone(rng)} {rng.choice(DO)} {_something(rng)}"
            )
            return _written(before + body + when, "?")
        case 5:
            body = f"there were {rng.choice(COUNTS)} {rng.choice(ADJECTIVES)} people{when}"
        case 6:
            body = f"{rng.choice(DO)} {_something(rng)}{when}"
        case _:
            body = f"i think that {_someone(rng)} {may} {rng.choice(BE)}{when}"
    return _written(before + body, ".")


def _someone(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return rng.choice(WHO)
    return f"{rng.choice(WHOSE[:7])} {rng.choice(PEOPLE + ANIMALS)}"


def _something(rng: random.Random) -> str:
    if rng.random() < 0.15:
        return rng.choice(("it", "me", "him", "them", "one", "her"))
    whose = rng.choice(WHOSE)
    adjective = f"{rng.choice(ADJECTIVES)} " if rng.random() < 0.5 else ""
    whose = "an" if whose == "a" and adjective[:1] in ("e", "o") else whose
    noun = rng.choice(THINGS + ANIMALS + PEOPLE)
    return f"{whose} {adjective}{noun}"


def _somewhere(rng: random.Random) -> str:
    return f"{rng.choice(NEAR)} the {rng.choice(PLACES)}"


def _like(rng: random.Random) -> str:
    first = rng.choice(ADJECTIVES)
    return f"{first} and {rng.choice(ADJECTIVES)}" if rng.random() < 0.4 else f"very {first}"


def _written(line: str, end: str) -> str:
    """With a capital, "I" as it is written, and a stop."""
    written = " ".join("I" if word == "i" else word for word in line.split())
    return written[0].upper() + written[1:] + end
