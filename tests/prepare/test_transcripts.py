from pathlib import Path

import pytest

from orpheus_clone.errors import AudioError, RecipeError, TranscriptError
from orpheus_clone.prepare.transcripts import (
    Recording,
    Spoken,
    find_recordings,
    match,
    read,
    read_cues,
)


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def texts(spoken: dict[str, Spoken]) -> dict[str, str | None]:
    assert not any(said.cues for said in spoken.values())
    return {name: said.text for name, said in spoken.items()}


def audio_files(folder: Path, *names: str) -> list[Path]:
    """Files that look like recordings; only their names matter here."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return sorted(folder / name for name in names)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.csv", "a|Hello, you.\nb|Bye.\n"),
        ("metadata.csv", "a|Hello, U.|Hello, you.\nb|Bye.|Bye.\n"),
        ("metadata.csv", "a|Hello, you.|\nb|Bye.|\n"),
        ("metadata.csv", "wavs/a.wav|Hello, you.\n\nb.flac|Bye.\n"),
        ("metadata.csv", "\ufeffa|Hello, you.\r\nb|Bye.\r\n"),
        ("x.jsonl", '{"id": "a", "text": "Hello, you."}\n{"id": "b", "text": "Bye."}\n'),
        (
            "x.jsonl",
            '{"audio": "w/a.wav", "text": "Hello, you."}\n{"file": "b.mp3", "text": "Bye."}',
        ),
        ("x.jsonl", '{"id": "a", "text": "Hello, you.", "extra": 1}\n{"id": "b", "text": "Bye."}'),
        ("x.txt", "a: Hello, you.\nb: Bye.\n"),
        ("x.txt", "a.wav: Hello, you.\nb.wav:Bye.\n"),
        ("x", "a: Hello, you.\nb: Bye.\n"),
    ],
)
def test_every_format_is_read(tmp_path: Path, name: str, content: str) -> None:
    assert texts(read(written(tmp_path, name, content))) == {"a": "Hello, you.", "b": "Bye."}


def test_a_colon_in_a_text_is_kept(tmp_path: Path) -> None:
    assert texts(read(written(tmp_path, "x.txt", "a: At 10:30: tea.\n"))) == {"a": "At 10:30: tea."}


def test_a_dot_in_a_name_is_kept_and_an_audio_suffix_is_not(tmp_path: Path) -> None:
    assert list(read(written(tmp_path, "x.csv", "v1.2|One.\nv1.3.wav|Two.\n"))) == ["v1.2", "v1.3"]


def test_an_exotic_line_separator_in_a_text_ends_no_line(tmp_path: Path) -> None:
    spoken = read(written(tmp_path, "x.csv", "a|Hello,\u2028you.\nb|Bye.\n"))
    assert list(spoken) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("metadata.csv", "no bar here", r"expected name\|text"),
        ("metadata.csv", "b|Either | or | neither.", r"expected name\|text"),
        ("x.jsonl", "{", "is not JSON"),
        ("x.jsonl", "[]", "is not a JSON object"),
        ("x.jsonl", '{"id": "b"}', 'expected "text" and one of "id", "audio", "file"'),
        ("x.jsonl", '{"text": "Bye."}', 'expected "text" and one of'),
        ("x.jsonl", '{"id": 3, "text": "Bye."}', 'expected "text" and one of'),
        ("x.jsonl", '{"id": "b", "text": 3}', 'expected "text" and one of'),
        ("x.jsonl", '{"id": "b", "text": 3, "cues": []}', 'expected "text" and one of'),
        ("x.jsonl", '{"id": "b", "cues": 3}', 'expected "cues": .* not 3'),
        ("x.jsonl", '{"id": "b", "cues": [[0, "1", "Hi."]]}', r"expected .* not \[0, '1', 'Hi.'\]"),
        (
            "x.jsonl",
            '{"id": "b", "cues": [[1, 1, "Hi."]]}',
            "the cue 'Hi.' runs from 1.0 s to 1.0 s",
        ),
        ("x.txt", "no colon here", "expected `name: text`"),
    ],
)
def test_a_broken_line_is_named_by_file_and_line(
    tmp_path: Path, name: str, line: str, message: str
) -> None:
    good = {"metadata.csv": "a|Hi.", "x.jsonl": '{"id": "a", "text": "Hi."}', "x.txt": "a: Hi."}
    path = written(tmp_path, name, f"{good[name]}\n\n{line}\n")
    with pytest.raises(TranscriptError, match=f"{name}:3: {message}"):
        read(path)


@pytest.mark.parametrize("second", ["a|Again.", "a.wav|Again.", "clips/a.flac|Again."])
def test_an_id_that_comes_twice_is_named_by_file_and_line(tmp_path: Path, second: str) -> None:
    path = written(tmp_path, "metadata.csv", f"a|Hi.\n{second}\n")
    with pytest.raises(TranscriptError, match=r"metadata\.csv:2: 'a' has a transcript already"):
        read(path)


def test_a_transcript_file_must_be_there_hold_something_and_be_text(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match=r"none\.csv: no such transcript file"):
        read(tmp_path / "none.csv")
    with pytest.raises(TranscriptError, match=r"x\.txt: holds no transcripts"):
        read(written(tmp_path, "x.txt", "\n  \n"))
    (tmp_path / "latin.txt").write_bytes("a: Caf\u00e9\n".encode("latin-1"))
    with pytest.raises(TranscriptError, match=r"latin\.txt: is not UTF-8 .* save it as UTF-8"):
        read(tmp_path / "latin.txt")
    with pytest.raises(TranscriptError, match="cannot be read"):
        read(tmp_path)


def test_recordings_are_found_in_files_folders_and_globs_each_once(tmp_path: Path) -> None:
    a, b, c = audio_files(tmp_path, "a.wav", "b.FLAC", "deep/c.mp3")
    (tmp_path / "notes.txt").touch()
    assert find_recordings([str(tmp_path)]) == [a, b, c]
    assert find_recordings([str(tmp_path), str(a)]) == [a, b, c]
    assert find_recordings([str(c), str(a)]) == [a, c]
    assert find_recordings([str(tmp_path / "*.wav")]) == [a]
    assert find_recordings([str(tmp_path / "**/*.mp3")]) == [c]


@pytest.mark.parametrize("place", ["https://example.com/a.wav", "s3://bucket/a.wav"])
def test_a_url_is_refused_with_what_to_do(place: str) -> None:
    with pytest.raises(AudioError, match="is a URL; download it first, then pass the file"):
        find_recordings([place])


def test_what_leads_to_no_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="none: no such file or folder, and no glob"):
        find_recordings([str(tmp_path / "none")])
    with pytest.raises(AudioError, match="the folder holds no audio files"):
        find_recordings([str(tmp_path)])


def test_a_folder_that_matches_a_glob_is_no_recording(tmp_path: Path) -> None:
    (a,) = audio_files(tmp_path, "a.wav")
    (tmp_path / "b.wav").mkdir()
    assert find_recordings([str(tmp_path / "*.wav")]) == [a]


def test_what_has_no_partner_is_returned_with_the_reason(tmp_path: Path) -> None:
    files = audio_files(tmp_path, "a.wav", "b.wav")
    matched, lonely = match(files, written(tmp_path, "x.csv", "a|Hi.\nc|Bye.\n"))
    assert [(found.id, found.path, found.text) for found in matched] == [("a", files[0], "Hi.")]
    assert [(one.id, one.reason) for one in lonely] == [
        ("b", "audio without transcript"),
        ("c", "transcript without audio"),
    ]


def test_two_recordings_of_one_name_are_refused(tmp_path: Path) -> None:
    files = audio_files(tmp_path, "x/a.wav", "y/a.flac")
    with pytest.raises(TranscriptError, match=r"have the same name 'a'.*rename one"):
        match(files, written(tmp_path, "x.csv", "a|Hi.\n"))


def test_nothing_that_matches_says_how_names_are_compared(tmp_path: Path) -> None:
    files = audio_files(tmp_path, "a.wav")
    with pytest.raises(
        TranscriptError, match=r"x\.csv: no transcript matches .*without the suffix"
    ):
        match(files, written(tmp_path, "x.csv", "A|Hi.\n"))


@pytest.mark.parametrize("name", ["metadata.csv", "transcripts.jsonl", "transcripts.txt"])
@pytest.mark.parametrize("folder", [".", ".."])
def test_a_transcript_beside_the_recordings_is_found(
    tmp_path: Path, name: str, folder: str
) -> None:
    files = audio_files(tmp_path, "wavs/a.wav")
    line = {"metadata.csv": "a|Hi.", "transcripts.jsonl": '{"id": "a", "text": "Hi."}'}
    written(tmp_path / "wavs" / folder, name, line.get(name, "a: Hi."))
    assert match(files, None)[0][0].text == "Hi."


def test_sidecars_are_taken_where_there_is_no_list(tmp_path: Path) -> None:
    files = audio_files(tmp_path, "a.wav", "b.wav")
    written(tmp_path, "a.txt", "Hi\nthere.\n")
    matched, lonely = match(files, None)
    assert [(found.id, found.text) for found in matched] == [("a", "Hi\nthere.\n")]
    assert [one.id for one in lonely] == ["b"]


def test_no_transcript_at_all_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        TranscriptError, match=r"no transcripts: .*NAME\.txt.*Pass --transcripts FILE"
    ):
        match(audio_files(tmp_path, "a.wav"), None)


def test_a_sidecar_that_is_not_text_is_named(tmp_path: Path) -> None:
    files = audio_files(tmp_path, "a.wav")
    (tmp_path / "a.txt").write_bytes(b"Caf\xe9")
    with pytest.raises(TranscriptError, match=r"a\.txt.* not UTF-8"):
        match(files, None)


def test_a_recording_that_a_list_lacks_may_have_a_sidecar_and_the_list_goes_first(
    tmp_path: Path,
) -> None:
    files = audio_files(tmp_path, "a.wav", "b.wav")
    written(tmp_path, "metadata.csv", "a|Of the list.\n")
    written(tmp_path, "a.txt", "Of the sidecar.")
    written(tmp_path, "b.txt", "Bye.")
    matched, lonely = match(files, None)
    assert [found.text for found in matched] == ["Of the list.", "Bye."]
    assert lonely == []


TIMED = {
    ".srt": "1\n00:00:01,000 --> 00:00:02,500\nHello.\n",
    ".vtt": "WEBVTT\n\n00:01.000 --> 00:02.500\nHello.\n",
    ".TextGrid": '"ooTextFile" "TextGrid" 0 3 <exists> 1 "IntervalTier" "t" 0 3 1 1 2.5 "Hello."',
}


@pytest.mark.parametrize("suffix", TIMED)
def test_cues_come_from_a_sidecar_or_from_a_file_for_one_recording(
    tmp_path: Path, suffix: str
) -> None:
    files = audio_files(tmp_path, "a.wav", "b.wav")
    sidecar = written(tmp_path, f"a{suffix}", TIMED[suffix])
    for matched, _ in (match(files, None), match(files[:1], sidecar)):
        assert [(found.id, found.text) for found in matched] == [("a", None)]
        assert [(c.start_s, c.end_s, c.text) for c in matched[0].cues] == [(1.0, 2.5, "Hello.")]
        assert matched[0].whole_text == "Hello."
    with pytest.raises(TranscriptError, match=r"is for one recording, and 2 are given.*beside its"):
        match(files, sidecar)
    with pytest.raises(RecipeError, match="a map of columns is for"):
        match(files[:1], sidecar, columns={"audio": "x"})


def test_a_sidecar_with_times_and_one_without_are_both_kept_and_two_of_a_kind_are_refused(
    tmp_path: Path,
) -> None:
    files = audio_files(tmp_path, "a.wav")
    written(tmp_path, "a.srt", TIMED[".srt"])
    written(tmp_path, "a.txt", "Hello, world.")
    (found,), _ = match(files, None)
    assert (found.text, found.whole_text, len(found.cues)) == ("Hello, world.", "Hello, world.", 1)
    written(tmp_path, "a.vtt", TIMED[".vtt"])
    with pytest.raises(TranscriptError, match=r"a\.srt and .*a\.vtt are of one recording"):
        match(files, None)


def test_jsonl_may_hold_cues_with_and_without_a_text(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "x.jsonl",
        '{"id": "a", "cues": [[0, 1.5, "Hi."], [1.5, 2, " "], [2, 3, "Bye."]]}\n'
        '{"id": "b", "text": "All.", "cues": [[0, 1, "All."]]}\n',
    )
    spoken = read(path)
    assert [(c.start_s, c.end_s, c.text) for c in spoken["a"].cues] == [
        (0.0, 1.5, "Hi."),
        (2.0, 3.0, "Bye."),
    ]
    assert spoken["a"].text is None
    assert spoken["b"].text == "All."


def test_without_a_transcript_a_recording_comes_back_where_it_may(tmp_path: Path) -> None:
    files = audio_files(tmp_path, "a.wav", "b.wav", "c.wav")
    matched, lonely = match(files, None, may_lack_text=True)
    assert matched == [Recording(path.stem, path, None) for path in files]
    assert lonely == []
    assert matched[0].whole_text is None
    # An empty cell is no transcript; one without a recording is still told.
    listed = written(tmp_path, "x.csv", "a|Hi.\nb|\nd|Bye.\n")
    matched, lonely = match(files, listed, may_lack_text=True)
    assert [(found.id, found.text) for found in matched] == [("a", "Hi."), ("b", None), ("c", None)]
    assert [(one.id, one.kind) for one in lonely] == [("d", "no_audio")]
    with pytest.raises(TranscriptError, match="no transcript matches"):
        match(files, written(tmp_path, "y.csv", "A|Hi.\n"), may_lack_text=True)


def test_an_empty_text_stays_where_there_is_no_asr(tmp_path: Path) -> None:
    files = audio_files(tmp_path, "a.wav")
    assert match(files, written(tmp_path, "x.csv", "a|\n"))[0][0].text == ""


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig", "utf-8"])
def test_utf_8_and_utf_16_with_its_mark_are_read(tmp_path: Path, encoding: str) -> None:
    content = "a: Caf\u00e9.\n"
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "x.txt").write_bytes((mark + content).encode(encoding))
    assert texts(read(tmp_path / "x.txt")) == {"a": "Caf\u00e9."}


def test_utf_16_that_is_broken_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"\xff\xfea")
    with pytest.raises(TranscriptError, match=r"x\.txt: is not UTF-16 text"):
        read(tmp_path / "x.txt")


def test_a_map_of_columns_reaches_the_table_that_is_found_and_needs_one(tmp_path: Path) -> None:
    files = audio_files(tmp_path, "a.wav")
    columns = {"audio": "clip", "text": "words"}
    with pytest.raises(RecipeError, match="there is no table to map; pass --transcripts FILE"):
        match(files, None, columns=columns)
    written(tmp_path, "metadata.csv", "n,clip,words\n1,a.wav,Hi.\n")
    assert match(files, None, columns=columns)[0][0].text == "Hi."


def test_a_file_of_cues_without_a_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match=r"a\.vtt: holds no cue with a text"):
        read_cues(written(tmp_path, "a.vtt", "WEBVTT\n"))


def test_a_name_matches_however_its_accents_are_encoded(tmp_path: Path) -> None:
    composed, parted = "caf\u00e9", "cafe\u0301"
    (path,) = audio_files(tmp_path, f"{parted}.wav")
    listed = written(tmp_path, "texts.csv", f"{composed}|Hello.\n")
    (recording,), lonely = match([path], listed)
    assert (recording.id, recording.text, lonely) == (composed, "Hello.", [])
    written(tmp_path, f"{composed}.txt", "Beside.")
    assert match([path], None)[0][0].text == "Beside."


def test_hidden_files_of_a_folder_are_no_recordings(tmp_path: Path) -> None:
    audio_files(tmp_path, "a.wav", "._a.wav", "__MACOSX/._a.wav")
    assert find_recordings([str(tmp_path)]) == [tmp_path / "a.wav"]


def test_each_folder_has_a_list_of_its_own(tmp_path: Path) -> None:
    files = audio_files(tmp_path, "x/a.wav", "y/b.wav")
    written(tmp_path / "x", "metadata.csv", "a|One.\n")
    written(tmp_path / "y", "transcripts.txt", "b: Two.\n")
    found, lonely = match(files, None, may_lack_text=True)
    assert ([r.text for r in found], lonely) == (["One.", "Two."], [])
    written(tmp_path / "y", "transcripts.txt", "b: Two.\na: Three.\n")
    with pytest.raises(TranscriptError, match="'a' has a transcript already"):
        match(files, None)
