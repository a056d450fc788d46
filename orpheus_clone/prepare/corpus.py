"""The corpus as a whole: whether it is one, which clips are held out, and its dataset directory."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from orpheus_clone import disk
from orpheus_clone.errors import DataError
from orpheus_clone.layout import PreparedDir
from orpheus_clone.manifest import Clip, Rejected
from orpheus_clone.prepare.encode import Encoded
from orpheus_clone.recipe import Prepare

FEWEST_CLIPS = 4
"""Fewer leave nothing to hold out that is not most of the voice."""


def check(
    clips: Sequence[Clip],
    encoded: Sequence[Encoded],
    rejected: Sequence[Rejected],
    settings: Prepare,
    out: PreparedDir,
) -> None:
    """DataError, with what to do, where the clips make no corpus."""
    # A list of more than was sent is no fault of what was sent.
    rejected = [entry for entry in rejected if entry.kind != "no_audio"]
    total = len(clips) + len(rejected)
    reasons = Counter(_kind(entry) for entry in rejected).most_common(3)
    summary = "; ".join(f"{count} x {reason}" for reason, count in reasons)
    summary += f"; see {out.report} and {out.rejected}"
    if len(clips) < FEWEST_CLIPS:
        raise DataError(
            f"{len(clips)} of {total} clips are usable, too few for a held-out split: at "
            f"least {FEWEST_CLIPS} are needed" + (f" (rejected: {summary})" if rejected else "")
        )
    if len(rejected) > settings.max_rejected_fraction * total:
        raise DataError(
            f"{len(rejected)} of {total} are rejected ({summary}); mend the corpus, or raise "
            "prepare.max_rejected_fraction if this is meant"
        )
    zeros = sum(item.zeros for item in encoded)
    samples = sum(item.samples for item in encoded)
    if zeros > settings.max_zero_fraction * samples:
        raise DataError(
            f"{100 * zeros / samples:.1f} % of the samples are digital silence, which becomes a "
            "token attractor; use recordings whose pauses were not muted or gated"
        )


def with_heldout(clips: Sequence[Clip]) -> list[Clip]:
    """At least one clip is held out: the one with the lowest hash, if chance held out none.

    Only in that case, of a few clips, may a recording that is added take its place.
    """
    if not clips or any(clip.split == "heldout" for clip in clips):
        return list(clips)
    lowest = min(clips, key=lambda clip: clip.key)
    return [replace(clip, split="heldout") if clip is lowest else clip for clip in clips]


def write_dataset(out: PreparedDir, clips: Sequence[Clip], encoded: Sequence[Encoded]) -> None:
    """A `datasets` directory with the splits train and heldout."""
    from datasets import Dataset, DatasetDict, Features, Value, disable_progress_bars
    from datasets import Sequence as SequenceOf

    disable_progress_bars()
    features = Features(
        {"id": Value("string"), "text": Value("string"), "codes": SequenceOf(Value("int16"))}
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
    with disk.atomic_dir(out.dataset) as temporary:
        DatasetDict(splits).save_to_disk(str(temporary))


def _kind(entry: Rejected) -> str:
    """The reason without the clip's own path in front."""
    return entry.reason.removeprefix(f"{entry.source}: ")[:80]
