"""prepare through its front door, on real speech."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from datasets import load_from_disk

from orpheus_clone import audio, disk, manifest, recipe
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import AudioError, DataError, MachineError, TranscriptError
from orpheus_clone.layout import PreparedDir, PreparedStamp
from orpheus_clone.manifest import Clip
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare.order import Order
from orpheus_clone.prepare.run import prepare
from orpheus_clone.quality import zero_samples
from orpheus_clone.silence import speech_span
from tests.conftest import DATA_SAMPLES, SMALL_RECIPE, UNJUDGED
from tests.signals import joined, noise, tone, zeros

Prepare = Callable[..., PreparedStamp]


@pytest.fixture
def out(tmp_path: Path) -> PreparedDir:
    return PreparedDir(tmp_path / "data" / "jack")


@pytest.fixture
def run(out: PreparedDir, own_recordings: Path, base: BaseModel) -> Prepare:
    """prepare of this test's own recordings, with overrides of the recipe."""

    def run(
        *overrides: str,
        voice: str = "jack",
        transcripts: Path | None = None,
        consent: Path | None = None,
    ) -> PreparedStamp:
        order = Order(
            [str(own_recordings)],
            voice,
            base,
            recipe=recipe.load(None, [*UNJUDGED, *overrides]),
            transcripts=transcripts,
            consent=consent,
        )
        return prepare(order, out)

    return run


def clips_of(out: PreparedDir) -> dict[str, Clip]:
    return {clip.id: clip for clip in manifest.read_clips(out.clips)}


def rejected_of(out: PreparedDir) -> dict[str, str]:
    lines = out.rejected.read_text(encoding="utf-8").splitlines()
    return {line["id"]: line["reason"] for line in map(json.loads, lines)}


def times_of(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def add(recordings: Path, name: str, samples: Waveform, text: str = "One more.") -> None:
    soundfile.write(recordings / f"{name}.wav", samples, 24_000, subtype="FLOAT")
    with (recordings / "metadata.csv").open("a", encoding="utf-8") as file:
        file.write(f"{name}|{text}\n")


def test_all_of_data_samples_become_clips(out: PreparedDir, base: BaseModel) -> None:
    told: list[tuple[str, int, int]] = []
    order = Order([str(DATA_SAMPLES)], "jack", base, recipe=recipe.load(None, UNJUDGED))
    stamp = prepare(order, out, lambda *news: told.append(news))
    clips = clips_of(out)
    assert (stamp.clips, stamp.rejected, len(clips)) == (18, 0, 18)
    assert [(done, of) for stage, done, of in told if stage == "decode"] == [
        (n, 18) for n in range(19)
    ]
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == ["decode", "measure", "tokenize"]
    assert told[-1] == ("tokenize", 18, 18)
    assert stamp.heldout == sum(clip.split == "heldout" for clip in clips.values()) >= 1
    assert stamp.seconds == pytest.approx(sum(clip.seconds for clip in clips.values()))
    for clip in clips.values():
        samples = audio.read(out.audio / f"{clip.key}.flac")
        assert len(samples) == clip.frames * 2048
        assert clip.seconds == pytest.approx(len(samples) / 24_000, abs=1e-3)
        span = speech_span(samples, 24_000)
        assert span.head_ms == pytest.approx(50, abs=10)
        assert span.tail_ms >= 100
        assert zero_samples(samples) <= zero_samples(audio.read(Path(clip.source)))


def test_the_dataset_holds_what_the_manifest_says(prepared: PreparedDir) -> None:
    stored = load_from_disk(str(prepared.dataset))
    for split in ("train", "heldout"):
        rows = {row["id"]: row for row in stored[split]}
        clips = [clip for clip in clips_of(prepared).values() if clip.split == split]
        assert sorted(rows) == sorted(clip.id for clip in clips)
        for clip in clips:
            codes = np.array(rows[clip.id]["codes"])
            assert rows[clip.id]["text"] == clip.text
            assert len(codes) == clip.frames * 7
            assert codes.min() >= 0
            assert codes.max() <= 4095


def test_the_stamp_names_voice_base_and_codec(prepared: PreparedDir, base: BaseModel) -> None:
    stamp = prepared.stamp()
    assert (stamp.voice, stamp.language, stamp.base) == ("jack", "en", "nano")
    assert (stamp.base_digest, stamp.codec_digest) == (base.digest, base.codec_digest)
    assert stamp.consent is None
    assert stamp.clips == 6


def test_a_second_run_encodes_nothing_again(run: Prepare, out: PreparedDir) -> None:
    first = run()
    cache, clips = times_of(out.cache / "codes"), times_of(out.audio)
    assert len(cache) == len(clips) == 6
    assert run() == first
    out.stamp_file.unlink()
    assert run() == first
    assert (times_of(out.cache / "codes"), times_of(out.audio)) == (cache, clips)


def test_a_changed_text_encodes_nothing_but_changes_the_digest(
    run: Prepare, out: PreparedDir, own_recordings: Path
) -> None:
    first = run()
    cache = times_of(out.cache / "codes")
    listed = own_recordings / "metadata.csv"
    listed.write_text(listed.read_text(encoding="utf-8").replace("number 3", "three"))
    second = run()
    assert times_of(out.cache / "codes") == cache
    assert clips_of(out)["c3"].text == "Sentence three."
    assert second.data_digest != first.data_digest


def test_a_changed_head_encodes_again(run: Prepare, out: PreparedDir) -> None:
    first, before = run(), times_of(out.cache / "codes")
    second = run("prepare.head_ms=100")
    assert len(times_of(out.cache / "codes")) == 12
    assert before.items() <= times_of(out.cache / "codes").items()
    assert second.data_digest != first.data_digest
    for clip in clips_of(out).values():
        head_ms = speech_span(audio.read(out.audio / f"{clip.key}.flac"), 24_000).head_ms
        assert head_ms == pytest.approx(100, abs=10)


def test_a_stamp_of_another_version_is_no_reason_to_stop(run: Prepare, out: PreparedDir) -> None:
    first = run()
    disk.write_json(out.stamp_file, {"voice": "jack"})
    assert run() == first


def test_an_added_recording_moves_no_clip_between_splits(
    run: Prepare, out: PreparedDir, own_recordings: Path
) -> None:
    run("prepare.heldout_fraction=0.4")
    before = {clip.id: clip.split for clip in clips_of(out).values()}
    assert set(before.values()) == {"train", "heldout"}
    add(own_recordings, "extra", tone(700) + noise(700))
    run("prepare.heldout_fraction=0.4")
    after = {clip.id: clip.split for clip in clips_of(out).values()}
    assert len(after) == 7
    assert before.items() <= after.items()


def test_two_recordings_of_the_same_sound_are_two_clips(
    run: Prepare, out: PreparedDir, own_recordings: Path
) -> None:
    for name in ("x", "y", "z"):
        shutil.copy(own_recordings / "c1.flac", own_recordings / f"{name}.flac")
        with (own_recordings / "metadata.csv").open("a") as file:
            file.write(f"{name}|Sentence {name}.\n")
    assert run().clips == 9
    assert len({clip.key for clip in clips_of(out).values()}) == 6


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (
            np.concatenate([tone(20_000), noise(100), tone(20_000)]),
            "over the limit of 2048; let an ASR",
        ),
        (tone(45), "is shorter than 0.4 s"),
        (zeros(1000), "nobody speaks"),
        (noise(1000, -60), "nobody speaks"),
        (np.full(24_000, np.nan, np.float32), "samples that are not numbers"),
        (np.zeros(0, np.float32), "holds no audio samples"),
    ],
    ids=["40 s", "45 ms", "digital silence", "room tone", "NaN", "no samples"],
)
def test_a_recording_that_cannot_be_used_is_rejected_with_the_reason(
    run: Prepare, out: PreparedDir, own_recordings: Path, samples: Waveform, reason: str
) -> None:
    add(own_recordings, "odd", samples)
    stamp = run()
    assert (stamp.clips, stamp.rejected) == (6, 1)
    assert reason in rejected_of(out)["odd"]


@pytest.mark.parametrize("content", [b"", b"This is not audio.\n"])
def test_a_file_that_is_not_audio_is_rejected_with_the_reason(
    run: Prepare, out: PreparedDir, own_recordings: Path, content: bytes
) -> None:
    add(own_recordings, "odd", tone(700))
    (own_recordings / "odd.wav").write_bytes(content)
    assert run().rejected == 1
    assert "odd.wav: " in rejected_of(out)["odd"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "nobody knows what is said"),
        ("👍", "nothing to say"),
        ("<custom_token_3>", "control token"),
    ],
)
def test_a_text_that_cannot_be_said_is_rejected_with_the_reason(
    run: Prepare, out: PreparedDir, own_recordings: Path, text: str, reason: str
) -> None:
    add(own_recordings, "odd", tone(700), text)
    assert run().rejected == 1
    assert reason in rejected_of(out)["odd"]


def test_what_has_no_partner_is_rejected_with_the_reason(
    run: Prepare, out: PreparedDir, own_recordings: Path
) -> None:
    audio.write(own_recordings / "mute.wav", tone(700))
    with (own_recordings / "metadata.csv").open("a") as file:
        file.write("ghost|Nobody said this.\n")
    assert run().clips == 6
    assert rejected_of(out) == {
        "mute": "audio without transcript",
        "ghost": "transcript without audio",
    }


def test_too_few_clips_are_refused_with_the_reasons(
    run: Prepare, out: PreparedDir, own_recordings: Path
) -> None:
    for i in (1, 2, 3):
        (own_recordings / f"c{i}.flac").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"3 of 6 clips are usable.*at least 4.*3 x the file is empty"
    ):
        run()
    assert not out.stamp_file.exists()


def test_a_corpus_that_is_mostly_rejected_is_refused(run: Prepare, own_recordings: Path) -> None:
    for i in range(8):
        add(own_recordings, f"odd{i}", zeros(1000))
    with pytest.raises(DataError, match=r"8 of 14 are rejected \(8 x .*max_rejected_fraction"):
        run()
    assert run("prepare.max_rejected_fraction=1").clips == 6


def test_a_refused_run_does_not_pass_for_the_one_before_it(run: Prepare, out: PreparedDir) -> None:
    first = run()
    with pytest.raises(DataError):
        run("prepare.min_seconds=30")
    assert len(rejected_of(out)) == 6
    assert not out.stamp_file.exists()
    assert run() == first
    assert not rejected_of(out)


def test_a_quiet_recording_left_at_its_level_is_reported(
    run: Prepare, own_recordings: Path
) -> None:
    soft = audio.read(own_recordings / "c1.flac") * np.float32(0.01)
    add(own_recordings, "soft", soft)
    assert run("prepare.loudness_lufs=null").clips == 7


def test_a_knock_beside_the_speech_is_within_full_scale(
    run: Prepare, own_recordings: Path, out: PreparedDir
) -> None:
    for path in own_recordings.glob("*.flac"):
        samples = audio.read(path) * np.float32(0.1)
        end = round(speech_span(samples * 10, 24_000).offset_ms * 24)
        knock = joined(samples[:end], noise(40, -80), tone(2, -4), noise(900, -80))
        audio.write(path, knock)
    stamp = run("prepare.loudness_lufs=-20")
    assert stamp.clips == 6
    assert stamp.gain_db == pytest.approx(0.8, abs=0.1)


def test_muted_recordings_are_refused(run: Prepare, own_recordings: Path) -> None:
    for file in own_recordings.glob("*.flac"):
        samples, rate = soundfile.read(file, dtype="float32")
        samples[10_000:12_000] = 0
        soundfile.write(file, samples, rate)
    with pytest.raises(
        DataError, match=r"% of the samples are digital silence.*not muted or gated"
    ):
        run()
    assert run("prepare.max_zero_fraction=1").clips == 6


@pytest.mark.parametrize("voice", ["../x", "Jack", "", "ada"])
def test_a_name_that_may_not_be_is_refused_before_anything_is_written(
    run: Prepare, out: PreparedDir, voice: str
) -> None:
    with pytest.raises(DataError, match="voice name"):
        run(voice=voice)
    assert not out.root.exists()


def test_a_url_is_refused(out: PreparedDir, base: BaseModel) -> None:
    with pytest.raises(AudioError, match="is a URL"):
        prepare(Order(["https://example.com/a.wav"], "jack", base, recipe=SMALL_RECIPE), out)


def test_a_broken_transcript_is_named_by_file_and_line(run: Prepare, own_recordings: Path) -> None:
    with (own_recordings / "metadata.csv").open("a") as file:
        file.write("no bar here\n")
    with pytest.raises(TranscriptError, match=r"metadata\.csv:7: expected name\|text"):
        run()


def test_transcripts_may_lie_elsewhere(run: Prepare, own_recordings: Path, tmp_path: Path) -> None:
    moved = (own_recordings / "metadata.csv").rename(tmp_path / "texts.csv")
    assert run(transcripts=moved).clips == 6


@pytest.mark.parametrize("content", ['{"speaker": "Jack", "agreed": true}', "I agree. Jack"])
def test_consent_is_recorded_with_its_digest(
    run: Prepare, out: PreparedDir, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "consent.txt"
    path.write_text(content, encoding="utf-8")
    record = run(consent=path).consent
    assert record is not None
    assert record["sha256"] == disk.sha256_file(path)
    assert record == json.loads(out.consent.read_text(encoding="utf-8"))
    assert record["record"] in (content, {"speaker": "Jack", "agreed": True})


@pytest.mark.parametrize(
    ("until", "message"),
    [("2001-01-31", "the consent ended on 2001-01-31; ask"), ("soon", "'soon' is no date like")],
)
def test_a_consent_that_has_ended_is_refused(
    run: Prepare, tmp_path: Path, until: str, message: str
) -> None:
    path = tmp_path / "consent.json"
    path.write_text(json.dumps({"who": "Jack", "until": until}), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        run(consent=path)
    path.write_text(json.dumps({"who": "Jack", "until": "9999-12-31"}), encoding="utf-8")
    assert run(consent=path).consent is not None


def test_another_voice_or_a_withdrawn_consent_is_another_corpus(
    run: Prepare, out: PreparedDir, tmp_path: Path
) -> None:
    path = tmp_path / "consent.txt"
    path.write_text("Yes.", encoding="utf-8")
    agreed, renamed = run(consent=path), run(voice="john", consent=path)
    withdrawn = run(voice="john")
    assert len({agreed.data_digest, renamed.data_digest, withdrawn.data_digest}) == 3
    assert withdrawn.consent is None
    assert not out.consent.exists()


def test_a_refused_corpus_leaves_every_reason(
    run: Prepare, out: PreparedDir, own_recordings: Path
) -> None:
    for path in sorted(own_recordings.glob("*.flac"))[:4]:
        path.write_bytes(b"")
    with pytest.raises(DataError):
        run()
    assert len(rejected_of(out)) == 4


def test_consent_that_cannot_be_read_is_an_error(run: Prepare, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt: the consent cannot be read"):
        run(consent=tmp_path / "none.txt")


def test_a_full_disk_says_so(
    small_disk: Callable[[int], Path], recordings: Path, base: BaseModel
) -> None:
    out = PreparedDir(small_disk(100) / "jack")
    with pytest.raises(MachineError, match=r"cannot write .*: No space left on device; free some"):
        prepare(Order([str(recordings)], "jack", base, recipe=SMALL_RECIPE), out)
    assert not out.stamp_file.exists()
    assert not list(out.root.rglob("*.part*"))
