"""prepare, from top to bottom: find, match, trim, tokenize, split, write.

Running it again does only what changed: each recording is remembered by its content, and where
nothing changed, nothing is done.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from orpheus_clone import layout, manifest, models, text, tokens
from orpheus_clone.codec.snac import Codec
from orpheus_clone.errors import ArtifactError, AudioError, DataError, TextError
from orpheus_clone.layout import PreparedDir, PreparedStamp
from orpheus_clone.manifest import Clip, Rejected
from orpheus_clone.models import BaseModel
from orpheus_clone.prepare.encode import REVISION, Encoded, clip_key, encode
from orpheus_clone.prepare.transcripts import Recording, find_recordings, match
from orpheus_clone.recipe import Recipe

FEWEST_CLIPS = 4
"""Fewer leave nothing to hold out that is not most of the voice."""

Progress = Callable[[int, int], None]
"""Told how many recordings are done, of how many."""


@dataclass(frozen=True)
class _Candidate:
    """A clip that may be kept."""

    clip: Clip
    encoded: Encoded


def prepare(
    places: Sequence[str],
    voice: str,
    out: PreparedDir,
    *,
    transcripts: Path | None = None,
    base: BaseModel,
    language: str = "en",
    recipe: Recipe | None = None,
    consent: Path | None = None,
    progress: Progress = lambda _done, _of: None,
) -> PreparedStamp:
    """Make a corpus of recordings in `out`; returns the stamp that says what became of them."""
    recipe = recipe or Recipe()
    layout.checked_voice_name(voice, base.voices)
    out.check_is_ours()
    record = _read_consent(consent)
    recordings, rejected = match(find_recordings(places), transcripts)
    inputs_digest = _inputs_digest(recordings, rejected, voice, language, base, recipe, record)
    with contextlib.suppress(ArtifactError):  # no stamp, or another version's: do it again
        if out.stamp().inputs_digest == inputs_digest:
            return out.stamp()
    candidates, more = _encode_all(recordings, voice, out, base, recipe, progress)
    rejected += more
    manifest.write_rejected(out.rejected, rejected)
    _check_corpus(candidates, rejected, recipe, out.rejected)
    clips = _with_heldout([candidate.clip for candidate in candidates])
    out.stamp_file.unlink(missing_ok=True)
    _write_dataset(out, clips, [candidate.encoded for candidate in candidates])
    manifest.write_clips(out.clips, clips)
    if record is None:
        out.consent.unlink(missing_ok=True)
    else:
        layout.write_json(out.consent, record)
    stamp = PreparedStamp(
        voice=voice,
        language=language,
        base=base.name,
        base_digest=base.digest,
        codec_digest=base.codec_digest,
        clips=len(clips),
        heldout=sum(clip.split == "heldout" for clip in clips),
        rejected=len(rejected),
        seconds=round(sum(clip.seconds for clip in clips), 3),
        data_digest=layout.sha256_json(
            [voice, language, record, [[c.id, c.text, c.key, c.split] for c in clips]]
        ),
        inputs_digest=inputs_digest,
        consent=record,
        versions=layout.versions(),
    )
    layout.write_stamp(out.stamp_file, stamp)
    return stamp


def _inputs_digest(
    recordings: list[Recording],
    rejected: list[Rejected],
    voice: str,
    language: str,
    base: BaseModel,
    recipe: Recipe,
    consent: object,
) -> str:
    heard = [[r.id, str(r.path), layout.sha256_file(r.path), r.text] for r in recordings]
    unmatched = [[r.id, r.reason] for r in rejected]
    made_for = [REVISION, voice, language, base.digest, base.codec_digest]
    return layout.sha256_json([heard, unmatched, made_for, recipe.prepare.model_dump(), consent])


def _encode_all(
    recordings: list[Recording],
    voice: str,
    out: PreparedDir,
    base: BaseModel,
    recipe: Recipe,
    progress: Progress,
) -> tuple[list[_Candidate], list[Rejected]]:
    codec = Codec(base.codec_path)
    tokenizer = base.tokenizer()

    def one(recording: Recording) -> _Candidate | Rejected:
        try:
            prompt = models.prompt_ids(tokenizer, voice, recording.text, base.tags)
            key = clip_key(recording.path, recipe.prepare, base.codec_digest)
            encoded = encode(recording.path, key, recipe.prepare, codec, out)
            _check_length(encoded, len(prompt), recipe)
        except (AudioError, TextError) as error:
            return Rejected(recording.id, str(recording.path), str(error))
        return _Candidate(_clip(recording, key, encoded, recipe, base), encoded)

    candidates: list[_Candidate] = []
    rejected: list[Rejected] = []
    progress(0, len(recordings))
    with ThreadPoolExecutor(2) as pool:
        try:
            for done, result in enumerate(pool.map(one, recordings), start=1):
                if isinstance(result, Rejected):
                    rejected.append(result)
                else:
                    candidates.append(result)
                progress(done, len(recordings))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # or Ctrl-C would wait for all of them
            raise
    return candidates, rejected


def _clip(
    recording: Recording, key: str, encoded: Encoded, recipe: Recipe, base: BaseModel
) -> Clip:
    return Clip(
        id=recording.id,
        text=text.clean(recording.text, base.tags),
        source=str(recording.path),
        key=key,
        seconds=round(encoded.samples / tokens.SAMPLE_RATE, 3),
        frames=len(encoded.codes),
        source_head_ms=encoded.source_head_ms,
        source_tail_ms=encoded.source_tail_ms,
        split=manifest.split_of(
            layout.sha256_file(recording.path), recipe.prepare.heldout_fraction
        ),
    )


def _check_length(encoded: Encoded, prompt_length: int, recipe: Recipe) -> None:
    """Too short to teach, or too long for a row: rejected, since a cut row never learns to stop."""
    seconds = encoded.samples / tokens.SAMPLE_RATE
    if seconds < recipe.prepare.min_seconds:
        raise AudioError(f"{seconds:.2f} s is shorter than {recipe.prepare.min_seconds} s")
    length = tokens.row_length(prompt_length, len(encoded.codes))
    if length > recipe.prepare.max_tokens:
        raise AudioError(
            f"{seconds:.1f} s make a row of {length} tokens, over the limit of "
            f"{recipe.prepare.max_tokens}; cut the recording at a pause"
        )


def _check_corpus(
    candidates: list[_Candidate], rejected: list[Rejected], recipe: Recipe, listed: Path
) -> None:
    total = len(candidates) + len(rejected)
    reasons = Counter(_kind(entry) for entry in rejected).most_common(3)
    summary = "; ".join(f"{count} x {reason}" for reason, count in reasons) + f"; see {listed}"
    if len(candidates) < FEWEST_CLIPS:
        raise DataError(
            f"{len(candidates)} of {total} clips are usable, too few for a held-out split: at "
            f"least {FEWEST_CLIPS} are needed" + (f" (rejected: {summary})" if rejected else "")
        )
    if len(rejected) > recipe.prepare.max_rejected_fraction * total:
        raise DataError(
            f"{len(rejected)} of {total} are rejected ({summary}); mend the corpus, or raise "
            "prepare.max_rejected_fraction if this is meant"
        )
    zeros = sum(candidate.encoded.zeros for candidate in candidates)
    samples = sum(candidate.encoded.samples for candidate in candidates)
    if zeros > recipe.prepare.max_zero_fraction * samples:
        raise DataError(
            f"{100 * zeros / samples:.1f} % of the samples are digital silence, which becomes a "
            "token attractor; use recordings whose pauses were not muted or gated"
        )


def _kind(entry: Rejected) -> str:
    """The reason without the clip's own path in front."""
    return entry.reason.removeprefix(f"{entry.source}: ")[:80]


def _with_heldout(clips: list[Clip]) -> list[Clip]:
    """At least one clip is held out: the one with the lowest hash, if chance held out none.

    Only in that case, of a few clips, may a recording that is added take its place.
    """
    if any(clip.split == "heldout" for clip in clips):
        return clips
    lowest = min(clips, key=lambda clip: clip.key)
    return [
        Clip(**{**clip.__dict__, "split": "heldout"}) if clip is lowest else clip for clip in clips
    ]


def _write_dataset(out: PreparedDir, clips: list[Clip], encoded: list[Encoded]) -> None:
    """A `datasets` directory with the splits train and heldout."""
    from datasets import Dataset, DatasetDict, Features, Sequence, Value, disable_progress_bars

    disable_progress_bars()
    features = Features(
        {"id": Value("string"), "text": Value("string"), "codes": Sequence(Value("int16"))}
    )
    rows = list(zip(clips, encoded, strict=True))
    splits = {
        split: Dataset.from_list(
            [
                {"id": clip.id, "text": clip.text, "codes": item.codes.reshape(-1).tolist()}
                for clip, item in rows
                if clip.split == split
            ],
            features=features,
        )
        for split in ("train", "heldout")
    }
    with layout.atomic_dir(out.dataset) as temporary:
        DatasetDict(splits).save_to_disk(str(temporary))


def _read_consent(path: Path | None) -> dict[str, object] | None:
    """The consent as it was given, with its digest; JSON if it is, else its text."""
    if path is None:
        return None
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the consent cannot be read: {error}") from None
    record: object = content
    with contextlib.suppress(json.JSONDecodeError):
        record = json.loads(content)
    return {"sha256": layout.sha256_file(path), "record": record}
