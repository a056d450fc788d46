"""What a speaker would say: known answers by hand, and what holds for any text."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.text import can_normalise, clean, normalise
from tests.conftest import DATA_SAMPLES

ENGLISH = {
    "0 1 21 100 999": "zero one twenty-one one hundred nine hundred and ninety-nine",
    "1,200 people": "one thousand two hundred people",
    "1,200.50": "one thousand two hundred point five zero",
    "3.14": "three point one four",
    "007": "zero zero seven",
    "123456789012": (
        "one hundred and twenty-three billion four hundred and fifty-six million seven hundred and "
        "eighty-nine thousand and twelve"
    ),
    "1234567890123": "one two three four five six seven eight nine zero one two three",
    "version 1.2.3": "version one point two point three",
    "1st, 2nd, 3rd, 4th": "first, second, third, fourth",
    "the 21st": "the twenty-first",
    "in 1066 and in 1984": "in ten sixty-six and in nineteen eighty-four",
    "1984 was": "nineteen eighty-four was",
    "1984 km": "one thousand nine hundred and eighty-four kilometers",
    "1,984 was": "one thousand nine hundred and eighty-four was",
    "1984-1989": "nineteen eighty-four to nineteen eighty-nine",
    "the 1980s and the '80s": "the nineteen eighties and the eighties",
    "the 1900s": "the nineteen hundreds",
    "May 5, 1984": "May fifth, nineteen eighty-four",
    "May 32": "May thirty-two",
    "2024-01-15": "January fifteenth, twenty twenty-four",
    "7:30, 7:05, 7:00": "seven thirty, seven oh five, seven o'clock",
    "7:00 pm, 7 pm, 7pm": "seven pm, seven pm, seven pm",
    "24:30": "twenty-four thirty",
    "25:30": "twenty-five to thirty",
    "1:02:03": "one two three",
    "16:9": "sixteen to nine",
    "5% or 5 %": "five percent or five percent",
    "$1, $2, $3.50": "one dollar, two dollars, three dollars and fifty cents",
    "$0.99 and $5.01": "ninety-nine cents and five dollars and one cent",
    "$3.5 million": "three point five million dollars",
    "$5M": "five million dollars",
    "€5 or 5€ or 5 €": "five euros or five euros or five euros",
    "£1.50": "one pound and fifty pence",
    "1/2, 3/4, 5/8, 24/7": "one half, three quarters, five eighths, twenty-four seven",
    "2 1/2 or 2½": "two and one half or two and one half",
    "5-10 km": "five to ten kilometers",
    "5–10": "five to ten",
    "it ended 2-1": "it ended two-one",
    "555-1234": "five five five, one two three four",
    "-5 °C": "minus five degrees Celsius",
    "1 km, 2 km, 1 ft": "one kilometer, two kilometers, one foot",
    "5 kmx": "five kmx",
    "Dr. Lee, Mr. and Mrs. Poe": "Doctor Lee, Mister and Missus Poe",
    "Mr Lee": "Mister Lee",
    "in St. Louis": "in Saint Louis",
    "on Main St. The shop": "on Main Street. The shop",
    "12 Main St.": "twelve Main Street.",
    "e.g. this, i.e. that vs. it": "for example this, that is that versus it",
    "E.g. this": "For example this",
    "and so on, etc. It": "and so on, et cetera. It",
    "etc...": "et cetera...",
    "etc.etc. all": "et cetera et cetera all",
    "approx. 5": "approximately five",
    "No. 5, #7, p. 9": "Number five, number seven, page nine",
    "No. I said no.": "No. I said no.",
    "R&D, AT&T and you & me": "R and D, AT and T and you and me",
    "a + b = c, a == b, C++": "a plus b equals c, a equals b, C plus plus",
    "joe@example.com": "joe at example.com",
    "=====": "=====",
    "MP3, B2B, COVID-19": "MP three, B two B, COVID-nineteen",
    "H.323": "H. three hundred and twenty-three",
    "extension 1234, dial 1200": ("extension one two three four, dial one thousand two hundred"),
    "3,14": "three, fourteen",
    "~5 people": "about five people",
    "NASA and the F.B.I.": "NASA and the F.B.I.",
    "Well <sigh> 5 <laugh>.": "Well <sigh> five <laugh>.",
}
GERMAN = {
    "1.234,5 kg": "eintausendzweihundertvierunddreißig Komma fünf Kilogramm",
    "3.14": "drei Punkt vierzehn",
    "am 3. Mai 1984": "am dritten Mai neunzehnhundertvierundachtzig",
    "der 1. Januar": "der erste Januar",
    "3. Mai": "dritter Mai",
    "die 80er": "die achtziger",
    "um 7:30 Uhr, um 7:30": "um sieben Uhr dreißig, um sieben Uhr dreißig",
    "5,50 €, 1 €": "fünf Euro und fünfzig Cent, ein Euro",
    "5 Mio. € bzw. 1 km": "fünf Millionen Euro beziehungsweise ein Kilometer",
    "Fr. Dr. Weiß, z.B. Nr. 5": "Frau Doktor Weiß, zum Beispiel Nummer fünf",
    "ca. 20 % usw.": "circa zwanzig Prozent und so weiter.",
}
FRENCH = {
    "Le 1er mai à 7h30": "Le premier mai à sept heures trente",
    "la 1re, le 2e": "la première, le deuxième",
    "M. Dupont a 12 000 €": "Monsieur Dupont a douze mille euros",
    "3,5 km, 1 £": "trois virgule cinq kilomètres, une livre",
    "n° 5, p. ex. 20 %": "numéro cinq, par exemple vingt pour cent",
    "les 5 m'ont vu": "les cinq m'ont vu",
}
SPANISH = {
    "El Sr. Pérez, 1º y 3ª": "El Señor Pérez, primero y tercera",
    "5,50 € y 1 h": "cinco euros con cincuenta céntimos y una hora",
    "a las 7:30": "a las siete y treinta",
    "EE. UU. y 1/3": "Estados Unidos y un tercio",
    "n.º 5": "número cinco",
}
ITALIAN = {
    "Il Sig. Rossi, 3ª": "Il Signor Rossi, terza",
    "20 %, 5,50 €": "venti per cento, cinque euro e cinquanta centesimi",
    "ad es. n. 5 ecc.": "ad esempio numero cinque eccetera.",
}
KNOWN = {"en": ENGLISH, "de": GERMAN, "fr": FRENCH, "es": SPANISH, "it": ITALIAN}
TRICKY = st.text("0123456789 .,:;/-–%$€£&+=@°#~½Mm'’()<>aSthkK\u0301ºª") | st.lists(
    st.sampled_from([*"$€%&+=@°#~½-–/:., ", "Dr.", "St.", "etc.", "No.", "5", "1984", "km", "s"])
).map("".join)


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [(code, written, said) for code, table in KNOWN.items() for written, said in table.items()],
)
def test_what_is_written_is_said(language: str, written: str, said: str) -> None:
    assert normalise(written, language) == said


@pytest.mark.parametrize("language", [*KNOWN, "ja", "pl", "xx"])
@given(text=st.text() | TRICKY)
def test_saying_it_twice_changes_nothing(language: str, text: str) -> None:
    once = normalise(text, language)
    assert normalise(once, language) == once
    assert unicodedata.is_normalized("NFC", once)


@pytest.mark.parametrize("language", KNOWN)
@given(text=TRICKY)
def test_no_digit_is_left(language: str, text: str) -> None:
    assert not re.search("[0-9]", normalise(text, language))


@given(st.lists(st.text("bcdfghjqvwxz", min_size=6), min_size=1), TRICKY)
def test_no_word_is_dropped(words: list[str], between: str) -> None:
    said = normalise(f" {between} ".join(words), "en")
    assert [word for word in re.findall("[bcdfghjqvwxz]{6,}", said) if word in words] == words


@given(st.text(st.characters(categories=("Lu", "Ll", "Lo"))))
def test_letters_alone_are_left_as_they_are(text: str) -> None:
    assert normalise(text, "en") == unicodedata.normalize("NFC", text)


@given(st.sampled_from(("laugh", "sigh", "st", "dr")), TRICKY, TRICKY)
def test_a_tag_stays_a_tag(tag: str, before: str, after: str) -> None:
    said = normalise(f"{before}<{tag}>{after}", "en")
    assert f"<{tag}>" in said


def test_the_samples_have_nothing_left_to_say_otherwise() -> None:
    lines = (DATA_SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()
    for line in lines:
        said = normalise(clean(line.partition("|")[2]), "en")
        assert not re.search(r"[0-9&%+=@°]", said)


def test_of_other_languages_only_whole_numbers_are_said() -> None:
    assert normalise("Mam 5 kotów, 3.5 km i 5%.", "pl") == "Mam pięć kotów, 3.5 km i 5%."
    assert normalise("3個", "ja") == "3個"


def test_a_language_without_numbers_keeps_its_digits_and_says_so() -> None:
    assert normalise("5 km & 3%", "xx") == "5 km & 3%"
    assert [can_normalise(code) for code in ("en", "ko", "zh", "xx")] == [True, True, False, False]
