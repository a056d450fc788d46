from collections.abc import Mapping

import pytest

from orpheus_clone.errors import RecipeError, TranscriptError
from orpheus_clone.prepare import tables

MAP = {"audio": "clip", "text": "words"}


def texts(
    content: str, columns: Mapping[str, str] | None = None, suffix: str = ".csv"
) -> list[tuple[str, str | None]]:
    return [(name, said.text) for _, name, said in tables.lines(content, suffix, "t", columns)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_header_is_known_whatever_the_delimiter(delimiter: str, end: str) -> None:
    rows = [["filename", "length", "sentence"], ["w/a.wav", "1", "Hi."], ["b", "2", "Bye."]]
    content = end.join(delimiter.join(row) for row in rows) + end
    assert texts(content) == [("a", "Hi."), ("b", "Bye.")]
    assert texts(content, suffix=".tsv") == [("a", "Hi."), ("b", "Bye.")]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("id,text,normalized_text", "a,Mr. A,Hi."),
        ("client_id,path,sentence", "9,a.mp3,Hi."),
        ("Transcript,File", "Hi.,a.wav"),
        ("file_name,transcription", "a.wav,Hi."),
        ("id,audio,text", "9,a.wav,Hi."),
    ],
)
def test_the_best_known_column_is_taken(header: str, row: str) -> None:
    assert texts(f"{header}\n{row}\n") == [("a", "Hi.")]


def test_a_map_names_columns_and_half_a_map_leaves_the_rest_to_be_known() -> None:
    content = "text,clip,words\nno,a.wav,Hi.\n"
    assert texts(content, MAP) == [("a", "Hi.")]
    assert texts(content, {"audio": "clip"}) == [("a", "no")]


def test_quoted_cells_may_hold_the_delimiter_quotes_and_line_breaks() -> None:
    content = 'id,text\na,"Hi, ""you"".\nBye."\n\n b , x \nc,\u2028Oh.\n'
    assert texts(content) == [("a", 'Hi, "you".\nBye.'), ("b", "x"), ("c", "Oh.")]


def test_with_tabs_and_bars_only_a_cell_in_quotes_as_a_whole_loses_them() -> None:
    content = 'id\ttext\na\t"Hi," she said.\nb\t"Hi, ""you""."\nc\t"A" and "B"\nd\t"\n'
    assert texts(content, suffix=".tsv") == [
        ("a", '"Hi," she said.'),
        ("b", 'Hi, "you".'),
        ("c", '"A" and "B"'),
        ("d", '"'),
    ]


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("id,text\na,Hi\nb,Oh, no.\n", None, "t:3: has 3 cells, and the header has 2"),
        ("id,text\na,Hi\n\nb\n", None, "t:4: has 1 cells"),
        ('id,text\na,"x\ny"\nb,"Hi" no\n', None, "t:4: .*write a quote in a quoted cell twice"),
        ('id,text\na,"Hi\n', None, "t:2: .*write a quote"),
        ("id,text\n,Hi\n", None, "t:2: the column 'id' is empty"),
        ("id,text,text\na,b,c\n", None, "t:1: two columns are named 'text'"),
        ("clip,word\na,b\n", MAP, r"t:1: there is no column 'words' .*did you mean 'word'\?"),
        ("clip;word\na;b\n", MAP, r"there is no column 'words' \(columns: clip, word\)"),
        ("x,y\na,b\n", MAP, r"there is no column 'clip' \(columns: x, y\)$"),
        ("clip,y\na,b\n", {"audio": "clip"}, "known to hold the text .*; map it too"),
        ("clip,y\na,b\n", None, "t:1: expected name.text .* a header whose columns are known"),
    ],
)
def test_a_broken_table_is_named_by_file_and_line(
    content: str, columns: Mapping[str, str] | None, message: str
) -> None:
    with pytest.raises(TranscriptError, match=message):
        texts(content, columns)


def test_a_header_alone_and_nothing_at_all_hold_no_lines() -> None:
    assert texts("id,text\n") == []
    assert texts("\n \n") == []


def test_a_map_of_something_else_is_refused() -> None:
    with pytest.raises(RecipeError, match="'txt' is not one of audio, text"):
        texts("a,b\n", {"txt": "b"})
    with pytest.raises(RecipeError, match=r"a map of columns is for \.csv and \.tsv"):
        texts("a: b\n", MAP, ".txt")


def test_where_a_line_stands_is_told() -> None:
    places = [where for where, _, _ in tables.lines("\nid,text\na,b\n\nc,d\n", ".csv", "t", None)]
    assert places == ["t:3", "t:5"]
