from pathlib import Path

import pytest

from orpheus_clone.errors import AudioError, TranscriptError
from orpheus_clone.prepare.transcripts import find_recordings, match, read


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


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
    assert read(written(tmp_path, name, content)) == {"a": "Hello, you.", "b": "Bye."}


def test_a_colon_in_a_text_is_kept(tmp_path: Path) -> None:
    assert read(written(tmp_path, "x.txt", "a: At 10:30: tea.\n")) == {"a": "At 10:30: tea."}


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
