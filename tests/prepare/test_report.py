"""The page as a browser's parser sees it, against report.json."""

import base64
import dataclasses
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
import soundfile
import yaml

from orpheus_clone.errors import AudioError
from orpheus_clone.prepare import report
from orpheus_clone.prepare.report import Kept, Lost, ReportData
from tests.conftest import DATA_SAMPLES

EVIL = '<script>alert("x")</script> & <img src="https://evil.example/a.png"> | pipe'


def clip(number: int, **changes: object) -> Kept:
    """A good clip of a minute, sounding like one of the samples."""
    one = Kept(
        id=f"c{number}",
        text=f"This is sentence number {number}. " * 20,
        seconds=60.0,
        audio=DATA_SAMPLES / f"{number % 18 + 1:03}.flac",
        head_before_ms=400.0,
        head_after_ms=50.0,
        tail_before_ms=900.0,
        tail_after_ms=110.0,
        snr_db=30.0,
        similarity=0.7,
        cer=0.01,
    )
    return dataclasses.replace(one, **changes)  # type: ignore[arg-type]


def lost(number: int, **changes: object) -> Lost:
    one = Lost(f"r{number}", "in/talk.mp3", "speaker", "similarity 0.1", 30.0)
    return dataclasses.replace(one, **changes)  # type: ignore[arg-type]


def corpus(kept: list[Kept], rejected: list[Lost], **changes: object) -> ReportData:
    data = ReportData(
        voice="jack",
        language="en",
        base="nano",
        made_at="2026-01-02",
        consent={"sha256": "ab" * 32, "record": "yes"},
        kept=tuple(kept),
        lost=tuple(rejected),
    )
    return dataclasses.replace(data, **changes)  # type: ignore[arg-type]


class Page(HTMLParser):
    """Tags with their attributes, the words of the page, and the cells of its tables by id."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr":
            self.rows[-1] = [cell.strip() for cell in self.rows[-1]]
            self.rows.append([])

    def sounds(self) -> list[str]:
        return [attributes["src"] or "" for tag, attributes in self.tags if tag == "audio"]


def write(out: Path, data: ReportData) -> tuple[Page, dict[str, object]]:
    report.write(out, data)
    return read(out)


def full() -> ReportData:
    kept = [clip(n) for n in range(11)] + [clip(11, text=EVIL, cer=0.3, flags=(EVIL,))]
    rejected = [
        lost(n, kind=kind, audio=DATA_SAMPLES / "001.flac", start_s=float(n))
        for n, kind in enumerate(["speaker"] * 3 + ["noise"])
    ]
    return corpus(kept, [*rejected, lost(9, reason=EVIL, kind=EVIL, id=EVIL)], notes=(EVIL,))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the report of `full` is; not to be changed."""
    out = tmp_path_factory.mktemp("report")
    report.write(out, dataclasses.replace(full(), licence="CC-BY-4.0"))
    return out


def read(out: Path) -> tuple[Page, dict[str, object]]:
    html = (out / "report.html").read_text(encoding="utf-8")
    return Page(html), json.loads((out / "report.json").read_text(encoding="utf-8"))


def test_no_request_leaves_the_page(written: Path) -> None:
    page, _ = read(written)
    links = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data", "poster")
    ]
    assert links and all(link is not None and link.startswith("data:") for link in links)
    html = (written / "report.html").read_text(encoding="utf-8")
    assert "@import" not in html and "url(" not in html
    assert "script" not in {tag for tag, _ in page.tags}
    assert "link" not in {tag for tag, _ in page.tags}


def test_what_others_wrote_is_escaped(written: Path) -> None:
    page, _ = read(written)
    assert page.text.count(EVIL) >= 5
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    card = (written / "README.md").read_text(encoding="utf-8")
    assert "<script" not in card and "<img" not in card


def test_every_sound_can_be_played(written: Path) -> None:
    page, _ = read(written)
    sounds = page.sounds()
    assert len(sounds) == 10 + 10 + 4
    for url in sounds:
        data = base64.b64decode(url.removeprefix("data:audio/ogg;base64,"), validate=True)
        samples, rate = soundfile.read(io.BytesIO(data))
        assert rate == 24_000 and len(samples) > rate
        assert len(data) < 100_000


def test_the_worst_comes_first_and_the_best_after(written: Path) -> None:
    page, _ = read(written)
    worst, best = page.text.index("The worst that was kept"), page.text.index("The best")
    assert page.text[worst:best].index("c11") < 60
    assert "c11" not in page.text[best : page.text.index("What was rejected")]


def test_the_numbers_of_the_page_are_those_of_the_json(written: Path) -> None:
    page, numbers = read(written)
    rows = {row[0]: row[1:] for row in page.rows if row}
    assert rows["kept"] == ["12", "12.0", "83 %"]
    assert (numbers["clips"], numbers["minutes"]) == (12, 12.0)
    assert rows["lost: speaker"][:2] == ["3", "1.5"]
    assert numbers["lost_minutes"] == {"speaker": 1.5, "noise": 0.5, EVIL: 0.5}
    assert numbers["lost_clips"] == 5
    measured = numbers["measured"]
    assert isinstance(measured, dict)
    assert measured["signal to noise"] == {"p5": 30.0, "p50": 30.0, "p95": 30.0}
    assert rows["signal to noise, dB"] == ["30", "30", "30"]
    assert rows["head silence before, ms"] == ["400", "400", "400"]
    assert measured["pitch"] is None and "pitch, Hz" not in rows
    verdict = numbers["verdict"]
    assert isinstance(verdict, dict)
    assert f"{verdict['headline']}." in page.text
    assert all(request in page.text for request in verdict["requests"])


def test_minutes_are_never_rounded_up(tmp_path: Path) -> None:
    page, _ = write(tmp_path, corpus([clip(0, seconds=599.0)], []))
    assert ["kept", "1", "9.9", "100 %"] in page.rows


def test_a_picture_has_a_title_that_can_be_read_aloud(written: Path) -> None:
    page, _ = read(written)
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(pictures) == 6
    assert all(picture["role"] == "img" for picture in pictures)
    assert "head silence: before median 400 ms, after median 50 ms, 12 clips" in page.text


def test_a_corpus_of_nothing_has_a_page(tmp_path: Path) -> None:
    page, numbers = write(tmp_path, corpus([], [], consent=None))
    assert "Ask for 30 more minutes" in page.text
    assert "No consent is recorded." in page.text
    assert numbers["clips"] == 0
    assert page.sounds() == []


def test_of_the_rejected_each_kind_can_be_heard(tmp_path: Path) -> None:
    audio = DATA_SAMPLES / "001.flac"
    many = [lost(n, audio=audio) for n in range(20)] + [lost(99, kind="noise", audio=audio)]
    page, _ = write(tmp_path, corpus([clip(0)], many))
    assert len(page.sounds()) == 1 + 1 + 10
    heard = page.text[page.text.index("What was rejected") : page.text.index("All 21 rejected")]
    assert "r99" in heard and "r8" in heard and "r9\n" not in heard


def test_a_sound_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone.flac"
    with pytest.raises(AudioError, match=r"gone\.flac: cannot be read for the report"):
        report.write(tmp_path, corpus([clip(0, audio=gone)], []))


def test_only_the_stretch_that_was_rejected_is_heard() -> None:
    url = report.sound(DATA_SAMPLES / "001.flac", start_s=1.0, seconds=2.0)
    data = base64.b64decode(url.partition(",")[2])
    assert soundfile.info(io.BytesIO(data)).duration == pytest.approx(2.0, abs=0.01)


def test_the_card_is_one_that_the_hub_can_read(written: Path) -> None:
    card = (written / "README.md").read_text(encoding="utf-8")
    _, front, body = card.split("---\n", 2)
    head = yaml.safe_load(front)
    assert head["language"] == ["en"]
    assert head["license"] == "cc-by-4.0"
    assert "12 clips, 12.0 minutes" in body
    assert "Consent is recorded (sha256 abababababab…)" in body


def test_reading_speed_counts_digits_as_words() -> None:
    assert clip(0, text="abcde", seconds=1.0).characters_a_second == 5
    assert clip(0, text="5", seconds=1.0).characters_a_second == 5


def test_short_clips_say_nothing_of_the_reading_speed() -> None:
    clips = [clip(0, text="a" * 30, seconds=2.0), clip(1, text="a" * 60, seconds=2.0)]
    ratio = report.facts(corpus([*clips, clip(2, text="MGCP", seconds=1.99)], [])).speed_ratio
    assert ratio == pytest.approx(28.5 / 16.5)
    assert report.facts(corpus([clip(2, text="MGCP", seconds=1.99)], [])).speed_ratio is None
