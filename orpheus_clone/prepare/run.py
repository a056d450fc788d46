"""prepare, from top to bottom: find, decode, listen, cut, measure, judge, level, tokenize, report.

What costs time is measured once and kept by content (`memory.py`); limits are applied to what was
measured. So running it again does only what changed, and where nothing changed, nothing is done.
"""

import contextlib
import os

from orpheus_clone import disk, layout, manifest
from orpheus_clone.errors import ArtifactError
from orpheus_clone.judges import open_judges
from orpheus_clone.layout import PreparedDir, PreparedStamp
from orpheus_clone.prepare import corpus, report
from orpheus_clone.prepare.account import account
from orpheus_clone.prepare.find import find
from orpheus_clone.prepare.memory import Memory
from orpheus_clone.prepare.order import Order, check_speaker, inputs_digest, read_consent
from orpheus_clone.prepare.stages import Progress, Stages


def prepare(
    order: Order,
    out: PreparedDir,
    progress: Progress = lambda _stage, _done, _of: None,
    threads: int | None = None,
) -> PreparedStamp:
    """Make a corpus of recordings in `out`; returns the stamp that says what became of them.

    `threads` is how much is done at a time; None: as much as there are cores.
    """
    settings, base = order.recipe.prepare, order.base
    layout.checked_voice_name(order.voice, base.voices)
    out.check_is_ours()
    judges = open_judges(order.recipe.judges)
    check_speaker(order, judges)
    consent = read_consent(order.consent)
    found, unmatched = find(
        order,
        out.cache / "rows",
        may_lack_text=judges.asr is not None,
        but_not_in=out.root,
    )
    digest = inputs_digest(order, found, unmatched, judges, consent)
    with contextlib.suppress(ArtifactError):  # no stamp, or another version's: do it again
        if out.stamp().inputs_digest == digest:
            return out.stamp()
    made = Stages(
        order, out, judges, Memory(out.cache), progress, threads or os.cpu_count() or 1
    ).make(found)
    rejected = [*unmatched, *made.rejected]
    # Before anything that it speaks of is written, also by a run that finds no corpus.
    out.stamp_file.unlink(missing_ok=True)
    manifest.write_rejected(out.rejected, rejected)
    report.write(out.root, account(order, made, rejected, judges, consent, out))
    corpus.check(made.clips, made.encoded, rejected, settings, out)
    clips = corpus.with_heldout(made.clips)
    corpus.write_dataset(out, clips, made.encoded)
    manifest.write_clips(out.clips, clips)
    if consent is None:
        out.consent.unlink(missing_ok=True)
    else:
        disk.write_json(out.consent, consent)
    stamp = PreparedStamp(
        voice=order.voice,
        language=made.language,
        base=base.name,
        base_digest=base.digest,
        codec_digest=base.codec_digest,
        clips=len(clips),
        heldout=sum(clip.split == "heldout" for clip in clips),
        rejected=len(rejected),
        seconds=round(sum(clip.seconds for clip in clips), 3),
        gain_db=made.gain_db,
        notes=made.notes,
        judges=judges.digests(),
        data_digest=disk.sha256_json(
            [order.voice, made.language, consent, [[c.id, c.text, c.key, c.split] for c in clips]]
        ),
        inputs_digest=digest,
        consent=consent,
        versions=layout.versions(),
    )
    layout.write_stamp(out.stamp_file, stamp)
    return stamp
