"""What nano's corpus says, and that what it is measured with is not in it."""

import itertools
import shutil
from collections import Counter
from pathlib import Path

import clips
import corpus
import measure
import numpy as np
import pieces
import sentences
import tokenise
from tokenise import Spoken

from orpheus_clone import nano, silence, tokens
from orpheus_clone.codec.snac import Codec
from orpheus_clone.models import BaseModel
from tests.conftest import DATA_SAMPLES
from tests.signals import tone

SOME = sentences.make(3000, corpus.SEED)


def test_the_word_list_is_two_hundred_words_in_order() -> None:
    assert len(sentences.WORDS) == len(set(sentences.WORDS)) == 200
    assert list(sentences.WORDS) == sorted(sentences.WORDS)


def test_sentences_use_the_words_and_no_other_each_of_them_often() -> None:
    counts = Counter(word for line in SOME for word in sentences.words_of(line))
    assert set(counts) == set(sentences.WORDS)
    assert min(counts.values()) >= 15


def test_sentences_are_the_same_each_time_and_more_begin_with_the_fewer() -> None:
    assert sentences.make(500, corpus.SEED) == SOME[:500]
    assert sentences.make(500, corpus.SEED + 1) != SOME[:500]
    assert len(set(SOME)) == len(SOME)


def test_lines_are_written_as_people_write() -> None:
    assert all(line[0].isupper() and line[-1] in ".?" for line in SOME)
    assert not any(" i " in line for line in SOME)


def test_a_longer_plan_leaves_what_was_said_as_it_is() -> None:
    assert set(corpus.plan(5, 12)) < set(corpus.plan(8, 18))


def test_every_stock_voice_says_its_share_and_they_take_turns() -> None:
    plan = corpus.plan(60, 60, 40)
    counts = Counter(line.voice for line in plan)
    assert counts == {"ada": 150, "ben": 150, "cleo": 150, "dov": 150, "eve": 10, "finn": 10}
    slow = Counter(line.voice for line in plan if line.speed == corpus.SLOW)
    assert slow == dict.fromkeys(corpus.STOCK, 40)
    assert [line.voice for line in plan[:4]] == list(corpus.STOCK)


def test_lines_that_cover_the_words_leave_none_behind() -> None:
    lines = list(itertools.islice(sentences.covering(1), 300))
    counts = Counter(word for line in lines for word in sentences.words_of(line))
    assert min(counts[word] for word in sentences.WORDS) >= 5
    assert len(set(lines)) == len(lines)
    assert lines[:40] == list(itertools.islice(sentences.covering(1), 40))


def test_forty_lists_have_every_word_once() -> None:
    lines = list(itertools.islice(sentences.lists(1), 40))
    words = [word for line in lines for word in sentences.words_of(line)]
    assert sorted(words) == list(sentences.WORDS)
    assert all(line.count(". ") == 4 and line.endswith(".") for line in lines)


def test_what_nano_is_measured_with_is_over_the_words_and_not_in_the_corpus() -> None:
    asked = measure.rung(50)
    assert len(set(asked)) == 50
    assert {word for line in asked for word in sentences.words_of(line)} <= set(sentences.WORDS)
    taught = {line.text for line in corpus.plan(1000, 1080)}
    assert not set(asked) & taught
    assert not set(nano.prompts()) & taught


def test_a_staged_row_waits_as_a_stock_voice_does_and_is_whole_frames() -> None:
    row = pieces.Row("ada", "One two.", tone(900), [0, 14_400])
    staged, starts = tokenise.staged(row)
    span = silence.speech_span(staged, tokens.SAMPLE_RATE)
    assert len(staged) % tokens.FRAME_SAMPLES == 0
    assert 530 <= span.head_ms <= 670
    assert 60 <= span.tail_ms <= 75 + 1000 * tokens.FRAME_SAMPLES / tokens.SAMPLE_RATE
    assert starts.tolist() == [7 * 2048, 7 * 2048 + 14_400]


def test_tokens_are_read_as_they_were_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    written = [
        Spoken(
            voice,
            text,
            rng.integers(0, 4096, (count, 7)).astype(np.uint16),
            rng.integers(0, 99_999, len(text.split())).astype(np.uint32),
        )
        for voice, text, count in [
            ("ada", "Hello you.", 3),
            ("eve", "Long.", 65_535),
            ("dov", '"No" it is.', 1),
        ]
    ]
    tokenise.write(written, tmp_path / "t.npz")
    read = list(tokenise.read(tmp_path / "t.npz"))
    assert [(r.voice, r.text) for r in read] == [(w.voice, w.text) for w in written]
    assert all((r.codes == w.codes).all() for r, w in zip(read, written, strict=True))
    assert all((r.starts == w.starts).all() for r, w in zip(read, written, strict=True))


def test_the_quick_encoder_is_the_codec(base: BaseModel) -> None:
    samples = tone(2048 * 3 / 24)
    ours = tokenise.Encoder(base.codec_path)(samples)
    assert ours.shape == (3, 7)
    assert (ours == Codec(base.codec_path).encode(samples)).mean() > 0.5


def listed(name: str) -> dict[str, str]:
    """A list of recordings beside the scripts: digest of the samples to file."""
    lines = (measure.HERE / name).read_text(encoding="utf-8").splitlines()
    return {line.split(" ", 1)[0]: line.rsplit(" ", 1)[1] for line in lines}


def test_nothing_of_the_unseen_customer_is_in_what_nano_has_heard() -> None:
    heard, unheard = listed("heard.txt"), listed("unheard.txt")
    assert len(unheard) > 500
    assert len(heard) > 1300
    assert not heard.keys() & unheard.keys()
    folders = {name.partition("/")[0] for name in heard.values()}
    assert folders == {"librispeech", *(corpus.STOCK | corpus.EXTRA).values()}


def test_a_recording_is_known_by_its_samples_whatever_its_name(tmp_path: Path) -> None:
    shutil.copy(DATA_SAMPLES / "001.flac", tmp_path / "renamed.flac")
    paths = [DATA_SAMPLES / "001.flac", tmp_path / "renamed.flac", DATA_SAMPLES / "002.flac"]
    one, again, other = clips.listed(paths, clips.read(paths)).splitlines()
    assert one.split()[:2] == again.split()[:2]
    assert one.split()[0] != other.split()[0]
