from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.errors import TranscriptError
from orpheus_clone.prepare import cues
from orpheus_clone.prepare.cues import Cue

HELLO = [Cue(1.0, 2.5, "Hello."), Cue(3.0, 3605.25, "Bye, you.")]
SRT = """1
00:00:01,000 --> 00:00:02,500
Hello.

2
00:00:03,000 --> 01:00:05,250
Bye,
you.
"""
VTT = """WEBVTT - a title
Kind: captions

STYLE
::cue { color: red }

NOTE 00:00:09.000 is no cue

intro
00:01.000 --> 00:02.500 align:start position:0%
Hello.

00:00:03.000 --> 01:00:05.250
Bye,
you.
"""
LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 3606
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 3606
        points: size = 1
        points [1]:
            number = 0.5
            mark = "click 7"
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 3606
        intervals: size = 1
        intervals [1]:
            xmin = 1.0
            xmax = 2.5
            text = "h"
    item [3]:
        class = "IntervalTier"
        name = "Sentences"
        xmin = 0
        xmax = 3606
        intervals: size = 5
        intervals [1]:
            xmin = 0
            xmax = 1
            text = ""
        intervals [2]:
            xmin = 1
            xmax = 2.5
            text = "Hello."
        intervals [3]:
            xmin = 2.5
            xmax = 3
            text = "<eps>"
        intervals [4]:
            xmin = 3
            xmax = 3605.25
            text = "Bye,
you."
        intervals [5]:
            xmin = 3605.25
            xmax = 3606
            text = "sil"
"""
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
3606
<exists>
1
"IntervalTier"
"any"
0
3606
2
1
2.5
"Hello."
3
3605.25
"Bye, you."
"""


@pytest.mark.parametrize(
    ("content", "suffix"), [(SRT, ".srt"), (VTT, ".vtt"), (LONG, ".TextGrid"), (SHORT, ".textgrid")]
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_format_is_read(content: str, suffix: str, end: str) -> None:
    assert cues.parse(content.replace("\n", end), suffix, "t") == HELLO


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("<i>Hello</i>, <b>you</b>.", "Hello, you."),
        ('<font color="red">Hello.</font>', "Hello."),
        ("<v John Doe>Hello.</v> <c.loud.red>Oh.</c>", "Hello. Oh."),
        ("{\\an8}Hello.", "Hello."),
        ("Hel<00:00:01.500>lo.", "Hello."),
        ("- Hello.\n- Bye.", "Hello. Bye."),
        (">> Hello.\n>>> Bye.", "Hello. Bye."),
        ("- JOHN: Hello.", "Hello."),
        ("MRS. O'NEIL 2: Hello.", "Hello."),
        ("\u00c9MILE: Hello.", "Hello."),
        ("[door slams] Hello.", "Hello."),
        ("[door\nslams]", ""),
        ("\u266a La la \u266a", ""),
        ("Fish &amp; chips", "Fish & chips"),
        # What may be spoken stays.
        ("<laugh> Oh.", "<laugh> Oh."),
        ("&lt;laugh&gt; Oh.", "<laugh> Oh."),
        ("At 10: tea.", "At 10: tea."),
        ("Note: tea.", "Note: tea."),
        ("NOTE: TEA.", "NOTE: TEA."),
        ("NASA:", "NASA:"),
        ("Well-known, (quite) good \u2013 yes.", "Well-known, (quite) good \u2013 yes."),
        ("-5 degrees", "-5 degrees"),
        ("\u7b54\u3048: ok.", "\u7b54\u3048: ok."),
        ("I, Robot: he said.", "I, Robot: he said."),
    ],
)
def test_what_is_not_spoken_is_taken_out_of_subtitles(written: str, spoken: str) -> None:
    assert cues.spoken(written) == spoken


def test_a_cue_with_nothing_left_is_dropped_and_a_mark_in_a_textgrid_is_not() -> None:
    block = "00:00:0{}.000 --> 00:00:0{}.000\n{}\n\n"
    content = block.format(1, 2, "[music]") + block.format(2, 3, "Hi.") + block.format(3, 4, "")
    assert cues.parse(content, ".srt", "t") == [Cue(2.0, 3.0, "Hi.")]
    grid = SHORT.replace("Hello.", '[a] ""b""')
    assert cues.parse(grid, ".textgrid", "t")[0].text == '[a] "b"'


GOOD = "00:00:01,000 --> 00:00:02,000\nHi.\n\n"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("2\n00:00:03,000 -> 00:00:04,000\nOh.", "t:4: expected a cue's times.* not '2'"),
        ("2\n00:00:03,000 --> 00:00:04\nOh.", "t:5: expected a cue's times.* --> 00:00:04'"),
        ("00:00:03,000 --> x\nOh.", "t:4: expected a cue's times"),
        ("Oh.", "t:4: expected a cue's times.* not 'Oh.'"),
        ("00:00:04,000 --> 00:00:03,000\nOh.", "t:4: the cue 'Oh.' runs from 4.0 s to 3.0 s"),
        ("00:00:03,000 --> 00:00:03,000\nOh.", "t:4: the cue 'Oh.' runs from 3.0 s to 3.0 s"),
        ("00:00:01,998 --> 00:00:03,000\nOh.", "t:4: .*'Oh.' at 1.998 s begins before .*'Hi.' at"),
        ("00:00:00,000 --> 00:00:01,000\nOh.", "t:4: .*'Oh.' at 0.0 s begins before"),
    ],
)
def test_broken_or_overlapping_cues_are_named_by_file_and_line(block: str, message: str) -> None:
    with pytest.raises(TranscriptError, match=message):
        cues.parse(GOOD + block, ".srt", "t")


def test_cues_may_touch_and_overlap_by_a_rounding() -> None:
    assert len(cues.parse(GOOD + "00:00:01,999 --> 00:00:03,000\nOh.", ".srt", "t")) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"ooTextFile"', '"ooBinary"', "t:1: is not a TextGrid in text form"),
        ("2.5\n", "x\n", 't:15: expected a number, not "Hello'),
        ('"Bye, you."\n', "", "t:17: expected a text in quotes, not the end of the file"),
        ("<exists>", "", "t:7: expected <exists>, not 1"),
        ('"IntervalTier"', '"PitchTier"', "t:8: expected a tier, not 'PitchTier'"),
        ("3\n3605", "2\n3605", "t:18: the cue 'Bye, you.' at 2.0 s begins before"),
        ("<exists>\n1", "<absent>\n1", r"t: no tier is known .*\(tiers: none with intervals\)"),
    ],
)
def test_a_broken_textgrid_is_named_by_file_and_line(old: str, new: str, message: str) -> None:
    assert old in SHORT
    with pytest.raises(TranscriptError, match=message):
        cues.parse(SHORT.replace(old, new), ".TextGrid", "t")


def test_of_several_tiers_the_longest_known_unit_is_taken() -> None:
    assert cues.parse(LONG.replace("Sentences", "Ann - words"), ".TextGrid", "t") == HELLO
    assert cues.parse(LONG.replace("phones", "words"), ".TextGrid", "t") == HELLO
    with pytest.raises(TranscriptError, match=r"tiers: phones, other\); name it 'sentences'"):
        cues.parse(LONG.replace("Sentences", "other"), ".TextGrid", "t")


@given(
    st.lists(st.integers(1, 10**7), min_size=2, max_size=20, unique=True).map(sorted),
    st.sampled_from([".srt", ".vtt"]),
)
def test_times_that_are_written_are_read_back(edges_ms: list[int], suffix: str) -> None:
    def clock(ms: int) -> str:
        return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"

    pairs = list(pairwise(edges_ms))
    content = "".join(f"{clock(a)} --> {clock(b)}\nx{a}\n\n" for a, b in pairs)
    found = cues.parse(content, suffix, "t")
    assert found == [Cue(a / 1000, b / 1000, f"x{a}") for a, b in pairs]
