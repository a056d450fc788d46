"""Text as a speaker would say it: the one definition, for what is trained on and what is served.

    "Dr. Lee ran 5 km in 24:30, i.e. <laugh> 12% faster."
    "Doctor Lee ran five kilometers in twenty-four thirty, that is <laugh> twelve percent faster."

Rules run in order, each a pattern and what its match becomes. What they consume never comes back,
so they are run until nothing changes, which makes it idempotent. What no rule knows stays as it
is: acronyms, tags, emoji, other scripts.

Limits: English, German, French, Spanish and Italian have tables (languages.py). Of the other
languages that num2words knows, whole numbers that stand alone are said and nothing else; where it
knows nothing, digits stay digits, which `can_normalise` tells. Cases and genders are not inflected,
but for "one".
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache

from orpheus_clone.text.languages import LANGUAGES, OneMany

LONGEST_NUMBER = 12
"""Digits; what is longer is read digit by digit, as a code is."""

_SIGNS = "&%+=@×°#№~½⅓⅔¼¾$€£−"
_VULGAR = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4"}
_YEAR = "(?:1[0-9]|20)[0-9]{2}"
_DECADES = {"en": "['’]?s", "de": "er"}
"""What makes decades of a number that ends in 0."""
_CODES = "extension|ext|dial|pin|code|password|passcode"
"""English words after which four digits and more are read one by one."""
_NO_MORE = r"(?![\w%°/+-]|[.,:][0-9])"
_CLOSING = frozenset(
    ["etc", "usw", "ecc", "jr", "sr", "ltd", "st", "ave", "blvd", "rd", "str", "ee.uu"]
)
"""Abbreviations that a sentence often ends with: before a capital letter they keep the stop."""
_SENTENCE_STARTS = frozenset(
    ["The", "He", "She", "It", "We", "They", "But", "And", "In", "On", "At"]
)

Say = Callable[[re.Match[str]], str]
Rule = tuple[re.Pattern[str], Say]


def can_normalise(language: str) -> bool:
    """Whether numbers of `language` (ISO 639-1) are put into words; else they stay digits."""
    return language in LANGUAGES or _knows_numbers(language)


def normalise(text: str, language: str) -> str:
    """`text` in NFC with numbers, signs and abbreviations in words; never raises.

    Doing it twice changes nothing. `clean` comes first: it must see `<custom_token_3>` before this
    makes words of it.
    """
    line = unicodedata.normalize("NFC", text)
    gate, rules = _rules(language)
    while gate.search(line):
        before = line
        for pattern, say in rules:
            line = pattern.sub(say, line)
        line = unicodedata.normalize("NFC", line)
        if line == before:
            break
    return line


@cache
def _rules(language: str) -> tuple[re.Pattern[str], Sequence[Rule]]:
    """What a text must hold for anything to be done, and what is done."""
    if language in LANGUAGES:
        speaker = _Speaker(language)
        return speaker.gate(), speaker.rules()
    if _knows_numbers(language):
        alone = re.compile(r"(?<![\w.,:/%+-])[0-9]{1,9}(?![\w:/%+-]|[.,][0-9])")
        return alone, [(alone, lambda found: _number(found.group(), language))]
    return re.compile(r"(?!)"), []


def _knows_numbers(language: str) -> bool:
    from num2words import CONVERTER_CLASSES

    return language in CONVERTER_CLASSES


@lru_cache(maxsize=4096)
def _words(n: int, language: str, to: str = "cardinal") -> str:
    """`to` is num2words' kind: cardinal, ordinal or year."""
    from num2words import num2words

    return str(num2words(n, lang=language, to=to)).replace(",", "")


def _digits(raw: str, language: str) -> str:
    return " ".join(_words(int(digit), language) for digit in raw)


def _number(raw: str, language: str) -> str:
    """A whole number written in digits alone."""
    is_code = len(raw) > LONGEST_NUMBER or (len(raw) > 1 and raw[0] == "0")
    return _digits(raw, language) if is_code else _words(int(raw), language)


def _apart(found: re.Match[str], words: str) -> str:
    """`words` with spaces where they would run into a letter or a digit, or "H." of "H.323"."""
    text, start, end = found.string, found.start(), found.end()
    is_dotted = text[start - 1 : start] == "." and text[start : start + 1].isdigit()
    before = text[start - 2 : start - 1] if is_dotted else text[start - 1 : start]
    left = " " if before.isalnum() and words[:1].isalnum() else ""
    right = " " if text[end : end + 1].isalnum() and words[-1:].isalnum() else ""
    return left + words + right


def _any_of(words: Iterable[str]) -> str:
    """An alternation, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=lambda w: (-len(w), w)))


class _Speaker:
    """The rules of one language that has tables."""

    def __init__(self, code: str) -> None:
        self._code = code
        self._tables = LANGUAGES[code]
        self._anywhere = {key.lower(): words for key, words in self._tables.anywhere.items()}
        group, decimal = re.escape(self._tables.group), re.escape(self._tables.decimal)
        whole = rf"(?:[0-9]{{1,3}}(?:{group}[0-9]{{3}})+(?![0-9])|[0-9]+)"
        self._num = rf"{whole}(?:{decimal}[0-9]+)?"

    def gate(self) -> re.Pattern[str]:
        """Matches in every text that a rule would change, and in few others."""
        titles, anywhere = _any_of(self._tables.titles), _any_of(self._anywhere)
        return re.compile(rf"[0-9{_SIGNS}]|\b(?:(?:{titles})\.? |(?i:{anywhere})\.)")

    def rules(self) -> list[Rule]:
        """In the order in which they are used: what is longer or surer comes first."""
        table = [*self._abbreviations(), *self._pairs(), *self._amounts(), *self._own()]
        table += [*self._fractions(), *self._rest()]
        return [(re.compile(pattern), say) for pattern, say in table]

    def _abbreviations(self) -> list[tuple[str, Say]]:
        t = self._tables
        numbered = "|".join(
            re.escape(key) + ("" if key[-1] in "°º" else r"\.") for key in t.before_number
        )
        return [
            (rf"(?<![\w.])({_any_of(t.titles)})(\.? )(?=[^\W\d_])", self._title),
            (rf"(?<!\w)((?i:{_any_of(self._anywhere)}))\.(\.*)", self._abbreviation),
            (rf"(?<![\w.])({numbered}) ?(?=[0-9])", self._before_number),
            (r"[#№] ?(?=[0-9])", lambda found: _apart(found, t.number)),
            (r"~ ?(?=[0-9])", lambda found: _apart(found, t.about)),
        ]

    def _pairs(self) -> list[tuple[str, Say]]:
        """Two numbers or more that belong together, and the sign of one."""
        t = self._tables
        hour_mark = "(?::| ?h ?)" if self._code == "fr" else ":"
        uhr = "(?: Uhr)?" if self._code == "de" else ""
        clock = rf"(?<![\w:.,])([01]?[0-9]|2[0-4]){hour_mark}([0-5][0-9])(?::([0-5][0-9]))?{uhr}"
        decade = r"(?<![\w.,])((?:1[1-9][0-9]|20[0-9]|[2-9])0)"
        decades = [
            (rf"{opening}{decade}{_DECADES[self._code]}\b", self._decade)
            for opening in ("['’]", "")
            if self._code in _DECADES
        ]
        return [
            *decades,
            (r"(?<![\w–-])[0-9]+(?:-[0-9]+){2,}(?![\w-])", self._code_number),
            (r"(?<![\w–-])[0-9]{3}-[0-9]{4}(?![\w-])", self._code_number),
            (r"(?<![^\s(\[\"“])[-−](?=[0-9$€£])", lambda _: f"{t.minus} "),
            (
                rf"(?<![\w.,/–-])({self._num})(%?)( ?[–—] ?|-)([$€£]?)({self._num})"
                r"(?![\w/]|[–-][0-9])",
                self._range,
            ),
            (clock + r"(?![\w:])", self._clock),
        ]

    def _amounts(self) -> list[tuple[str, Say]]:
        """Numbers of something: money, kilometers."""
        t = self._tables
        signs, scales = _any_of(t.money), _any_of(t.scales)
        return [
            (
                rf"({signs}) ?({self._num})(?: ?({scales})(?!\w))?",
                lambda found: _apart(found, self._amount(*found.group(1, 2, 3))),
            ),
            (
                rf"(?<![\w.,])({self._num}) ?(?:({scales}) )?({signs})(?![0-9])",
                lambda found: _apart(found, self._amount(*found.group(3, 1, 2))),
            ),
            (
                rf"(?<![\w.,/])({self._num}) ?({_any_of(t.units)})(?![\w/²³'’])",
                lambda found: _apart(found, self._counted(found[1], t.units[found[2]])),
            ),
        ]

    def _own(self) -> list[tuple[str, Say]]:
        """Ordinals, dates and years, which each language writes in its own way."""
        after = _any_of([*self._tables.months, *self._tables.year_after])
        months = _any_of(self._tables.months)
        match self._code:
            case "en":
                return [
                    (rf"\b(?i:{_CODES}) ([0-9]{{4,}})(?<!00){_NO_MORE}", self._spelt),
                    (
                        rf"\b({months})\.? ([0-9]{{1,2}})(?:st|nd|rd|th)?\b(?:,? ({_YEAR})\b)?",
                        self._english_date,
                    ),
                    (r"(?<![\w.,])([0-9]+)(?:st|nd|rd|th)\b", self._ordinal),
                    (rf"(?<![\w$€£.,/+-])((?:19|20)[0-9]{{2}}){_NO_MORE}", self._year),
                    (rf"(?:\b(?:{after}) |\()({_YEAR}){_NO_MORE}", self._year),
                ]
            case "de":
                articles = "am|Am|vom|Vom|zum|dem|den|bis|der|Der|die|das"
                return [
                    (
                        rf"(?<![\w.,])((?:{articles}) )?([0-9]{{1,2}})\. (?={months})",
                        self._german_ordinal,
                    ),
                    (rf"(?<![\w$€£.,/+-])(19[0-9]{{2}}){_NO_MORE}", self._year),
                    (rf"(?:\b(?:{after}) |\()({_YEAR}){_NO_MORE}", self._year),
                ]
            case "fr":
                return [(r"(?<![\w.,])([0-9]+)(?:er|re|ère|ème|e|nd|nde)\b", self._ordinal)]
            case _:
                return [(r"(?<![\w.,])([0-9]+)\.?[ºª]", self._ordinal)]

    def _fractions(self) -> list[tuple[str, Say]]:
        known = _any_of(self._tables.fractions)
        return [
            (rf"(?<![\w./])([0-9]+) ({known})(?![\w/])", self._mixed),
            (r"(?:(?<![0-9])([0-9]+) ?)?([½⅓⅔¼¾])", self._mixed),
            (r"(?<![\w./])([0-9]+)/([0-9]+)(?![\w/])", self._fraction),
            (r"(?<![\w:.,])([0-9]+):([0-9]+)(?![\w:])", self._ratio),
        ]

    def _rest(self) -> list[tuple[str, Say]]:
        """Single numbers and signs."""
        return [
            (rf"{self._num}((?:\.[0-9]+)*)([,;:/](?=[0-9]))?", self._any_number),
            (r"(?<!=)={1,2}(?!=)|(?<!\+)\+{1,2}(?!\+)|[&%@×]+", self._symbol),
        ]

    def _say(self, raw: str) -> str:
        """A number as it is written in this language, with groups and decimals."""
        t = self._tables
        whole, point, decimals = raw.replace(t.group, "").partition(t.decimal)
        words = _number(whole, self._code)
        return f"{words} {t.points[point]} {_digits(decimals, self._code)}" if point else words

    def _counted(self, raw: str, noun: OneMany) -> str:
        return noun[0] if raw == "1" else f"{self._say(raw)} {noun[1]}"

    def _value(self, raw: str) -> float:
        return float(raw.replace(self._tables.group, "").replace(self._tables.decimal, "."))

    def _title(self, found: re.Match[str]) -> str:
        """Before a name only; "Main St. The shop" ends a sentence."""
        name, space = found.groups()
        following = re.match(r"\w+", found.string[found.end() :])
        after = following.group() if following else ""
        is_name = after[:1].isupper() and not (name == "St" and after in _SENTENCE_STARTS)
        is_pair = space == ". " and after == self._tables.symbols["&"]
        return f"{self._tables.titles[name]} " if is_name or is_pair else name + space

    def _abbreviation(self, found: re.Match[str]) -> str:
        short, more = found.groups()
        words = self._anywhere[short.lower()]
        if short[0].isupper() and short not in self._tables.anywhere:
            words = words[0].upper() + words[1:]
        rest = found.string[found.end() :].lstrip("\"'”’»)]")
        is_end = bool(more) or not rest.strip()
        if self._code != "de" and short.lower() in _CLOSING:
            is_end |= rest[:1] == " " and rest[1:2].isupper()
        return _apart(found, words + ("." if is_end else "")) + more

    def _before_number(self, found: re.Match[str]) -> str:
        return _apart(found, self._tables.before_number[found[1].removesuffix(".")])

    def _code_number(self, found: re.Match[str]) -> str:
        """A date such as 2024-01-15, in English; else digit by digit, as telephone numbers are."""
        date = re.fullmatch(rf"({_YEAR})-(0[1-9]|1[0-2])-([0-3][0-9])", found.group())
        if date and self._tables.months and self._code == "en":
            return f"{self._tables.months[int(date[2]) - 1]} {int(date[3])}, {date[1]}"
        return ", ".join(_digits(part, self._code) for part in found.group().split("-"))

    def _spelt(self, found: re.Match[str]) -> str:
        return found.group().removesuffix(found[1]) + _digits(found[1], self._code)

    def _range(self, found: re.Match[str]) -> str:
        """Only the dash is said here; "2-1" is a score, "10 – 5" no range."""
        first, percent, dash, sign, last = found.groups()
        if self._value(first) < self._value(last):
            dash = f" {self._tables.through} "
        elif dash != "-":
            dash = ", "
        return first + percent + dash + sign + last

    def _clock(self, found: re.Match[str]) -> str:
        hour, minute, second = found.groups()
        t, code = self._tables, self._code
        if second is not None:
            return _apart(found, " ".join(_words(int(n), code) for n in (hour, minute, second)))
        said = t.hour[0] if int(hour) == 1 else t.hour[1].format(_words(int(hour), code))
        if int(minute):
            oh = "oh " if code == "en" and minute[0] == "0" else ""
            said += t.minutes + oh + _words(int(minute), code)
        elif code == "en" and not re.match(" ?[AaPp]\\.?[Mm]\\b", found.string[found.end() :]):
            said += " o'clock"
        return _apart(found, said)

    def _amount(self, sign: str, raw: str, scale: str | None) -> str:
        t = self._tables
        unit, hundredth = t.money[sign]
        if scale:
            return f"{self._say(raw)} {t.scales[scale]} {unit[1]}"
        whole, point, cents = raw.partition(t.decimal)
        if not point or len(cents) != 2:
            return self._counted(raw, unit)
        if cents == "00":
            return self._counted(whole, unit)
        change = self._counted(cents.lstrip("0"), hundredth)
        return change if whole == "0" else self._counted(whole, unit) + t.change + change

    def _ordinal(self, found: re.Match[str]) -> str:
        raw = found[1]
        if len(raw) > LONGEST_NUMBER or int(raw) == 0:
            return _apart(found, _number(raw, self._code))
        words = _words(int(raw), self._code, "ordinal")
        if found.group()[-1] == "ª":
            words = re.sub(r"o\b", "a", words)
        if found.group() in ("1re", "1ère"):
            words = "première"
        return _apart(found, words)

    def _year(self, found: re.Match[str]) -> str:
        before = found.group().removesuffix(found[1])
        return before + _words(int(found[1]), self._code, "year")

    def _decade(self, found: re.Match[str]) -> str:
        words = _words(int(found[1]), self._code, "year")
        if self._code == "de":
            return f"{words}er"
        return words[:-1] + "ies" if words.endswith("y") else f"{words}s"

    def _english_date(self, found: re.Match[str]) -> str:
        month, day, year = found.groups()
        kind = "ordinal" if 1 <= int(day) <= 31 else "cardinal"
        said = f"{month} {_words(int(day), 'en', kind)}"
        return f"{said}, {_words(int(year), 'en', 'year')}" if year else said

    def _german_ordinal(self, found: re.Match[str]) -> str:
        article, day = found[1] or "", found[2]
        ending = {"": "r", "der ": "", "die ": "", "das ": ""}.get(article.lower(), "n")
        return f"{article}{_words(int(day), 'de', 'ordinal')}{ending} "

    def _mixed(self, found: re.Match[str]) -> str:
        whole, part = found.groups()
        words = self._tables.fractions[_VULGAR.get(part, part)]
        if whole:
            words = f"{_number(whole, self._code)} {self._tables.symbols['&']} {words}"
        return _apart(found, words)

    def _fraction(self, found: re.Match[str]) -> str:
        """Halves, thirds, quarters; English fifths and eighths; "24/7" is two numbers."""
        over, under = found.groups()
        if found.group() in self._tables.fractions:
            return self._tables.fractions[found.group()]
        if self._code == "en" and under in ("5", "6", "8") and 0 < int(over) < int(under):
            plural = "" if int(over) == 1 else "s"
            return f"{_words(int(over), 'en')} {_words(int(under), 'en', 'ordinal')}{plural}"
        return f"{_number(over, self._code)} {_number(under, self._code)}"

    def _ratio(self, found: re.Match[str]) -> str:
        to = " to " if self._code == "en" else " "
        return to.join(_number(part, self._code) for part in found.groups())

    def _any_number(self, found: re.Match[str]) -> str:
        """One number, or a version such as 1.2.3, and what joins it to the next of a list."""
        dotted, joint = found.groups()
        first = found.group().removesuffix(joint or "").removesuffix(dotted)
        point = f" {self._tables.points['.']} "
        words = [self._say(first), *(_number(n, self._code) for n in dotted.split(".")[1:])]
        said = _apart(found, point.join(words))
        return said if joint is None else said.rstrip() + joint.replace("/", "") + " "

    def _symbol(self, found: re.Match[str]) -> str:
        """In its word; "C++" says it twice, "&&" and "==" once."""
        sign, text = found.group()[0], found.string
        before, after = text[: found.start()][-1:], text[found.end() :][:1]
        left = "" if before in ("", " ", "(", "[", '"', *_SIGNS) else " "
        right = "" if after == "" or after in " .,;:!?…)]\"'”’»" else " "
        times = len(found.group()) if sign == "+" else 1
        return left + " ".join([self._tables.symbols[sign]] * times) + right
