"""Score what prepare made of the torture set: precision and recall of each check.

    python recipes/torture/score.py PREPARED_DIR SET_DIR

Two tables and one JSON line last. By kind of fault, where a clip was rejected for one kind:

    labelled    clips that have this fault
    rejected    clips that were rejected for it
    precision   of those rejected for it, the share of which it is true: it is the label's kind, or
                among what else is true of it ("also": music is a noise too)
    deserved    of those rejected for it, the share that has any fault
    recall      of those that have the fault, the share rejected for it
    caught      of those that have the fault, the share rejected for whatever reason
    told        of those that have the fault, the share rejected, or kept with a flag
    good lost   clips without any fault that were rejected for it

A clip is rejected for one kind only, and its fault may be found by another check first (nobody's
words can be heard under noise): `recall` is the strict figure, `caught` what counts for a corpus.
By case: how many were kept, with a flag or without, and for what the others were rejected. Where a
recording without words was cut apart (the interview), seconds kept are told by who speaks in them.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from orpheus_clone import audio, silence
from orpheus_clone.tokens import SAMPLE_RATE

HEAD_CASES = ("head_600ms", "head_3s")


@dataclass(frozen=True)
class Verdict:
    """What prepare said of a clip."""

    is_kept: bool
    kind: str = ""
    """Why not, if not."""
    flags: tuple[str, ...] = ()
    key: str = ""


@dataclass(frozen=True)
class Score:
    """Of one kind; see the module. None: there was nothing to divide by."""

    labelled: int
    rejected: int
    precision: float | None
    deserved: float | None
    recall: float | None
    caught: float | None
    told: float | None
    good_lost: int


@dataclass
class Outcome:
    """Of one case: how many were kept, and for what the others were not."""

    clips: int = 0
    expected: str = ""
    kept: int = 0
    flagged: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


def main(argv: Sequence[str] | None = None) -> int:
    """Read, score, print."""
    parser = argparse.ArgumentParser(description="Score prepare on the torture set.")
    parser.add_argument("prepared", type=Path, metavar="PREPARED_DIR")
    parser.add_argument("set_dir", type=Path, metavar="SET_DIR")
    args = parser.parse_args(argv)
    labels, kept = _rows(args.set_dir / "labels.jsonl"), _rows(args.prepared / "clips.jsonl")
    said = verdicts(kept, _rows(args.prepared / "rejected.jsonl"))
    missing = [label["id"] for label in labels if label["id"] not in said]
    labels = [label for label in labels if label["id"] in said]
    line: dict[str, Any] = {"bench": "torture", "clips": len(labels), "missing": len(missing)}
    if labels:
        scores, outcomes = by_kind(labels, said), by_case(labels, said)
        print(_table("kind", {kind: asdict(score) for kind, score in scores.items()}))
        print(_table("case", {case: _shown(outcome) for case, outcome in outcomes.items()}))
        line |= {"kinds": {kind: asdict(score) for kind, score in scores.items()}}
        line |= totals(labels, said)
        line |= {"recall_by_case": recall_by_case(labels, said)}
        line |= heads(args.prepared, labels, said)
    if missing:
        print(f"neither kept nor rejected: {', '.join(missing)}", file=sys.stderr)
    line |= interview(args.set_dir, kept)
    print(json.dumps(line))
    return 0


def verdicts(
    kept: Iterable[dict[str, Any]], rejected: Iterable[dict[str, Any]]
) -> dict[str, Verdict]:
    """By the clip's id. A clip of which any part was kept counts as kept."""
    said = {row["id"]: Verdict(False, row["kind"]) for row in rejected}
    return said | {
        row["id"]: Verdict(True, "", tuple(row["flags"]), row.get("key", "")) for row in kept
    }


def by_kind(labels: Sequence[dict[str, Any]], said: dict[str, Verdict]) -> dict[str, Score]:
    """Each kind that is a label or a reason."""
    kinds = {label["kind"] for label in labels} | {said[label["id"]].kind for label in labels}
    return {kind: _score(kind, labels, said) for kind in sorted(kinds - {""})}


def _score(kind: str, labels: Sequence[dict[str, Any]], said: dict[str, Verdict]) -> Score:
    faulty = [said[label["id"]] for label in labels if label["kind"] == kind]
    accused = [label for label in labels if said[label["id"]].kind == kind]
    good = [said[label["id"]] for label in labels if not label["kind"]]
    return Score(
        labelled=len(faulty),
        rejected=len(accused),
        precision=_share(kind in (x["kind"], *x.get("also", ())) for x in accused),
        deserved=_share(x["kind"] != "" for x in accused),
        recall=_share(verdict.kind == kind for verdict in faulty),
        caught=_share(not verdict.is_kept for verdict in faulty),
        told=_share(not verdict.is_kept or bool(verdict.flags) for verdict in faulty),
        good_lost=sum(verdict.kind == kind for verdict in good),
    )


def by_case(labels: Sequence[dict[str, Any]], said: dict[str, Verdict]) -> dict[str, Outcome]:
    """What became of each case, by its name."""
    outcomes: dict[str, Outcome] = defaultdict(Outcome)
    for label in sorted(labels, key=lambda label: (label["expected"], label["case"])):
        outcome, verdict = outcomes[label["case"]], said[label["id"]]
        outcome.clips += 1
        outcome.expected = label["expected"]
        outcome.kept += verdict.is_kept
        outcome.flagged += bool(verdict.flags)
        outcome.rejected.update([verdict.kind] if not verdict.is_kept else [])
    return dict(outcomes)


def totals(labels: Sequence[dict[str, Any]], said: dict[str, Verdict]) -> dict[str, int]:
    """Over all cases: what was lost of the good, and kept of the faulty."""
    kept = {label["id"] for label in labels if said[label["id"]].is_kept}
    good = {label["id"] for label in labels if not label["kind"]}
    flagged = sum(bool(said[name].flags) for name in kept & good)
    return {
        "good": len(good),
        "good_lost": len(good - kept),
        "good_flagged": flagged,
        "faulty": len(labels) - len(good),
        "faulty_kept": len(kept - good),
    }


def recall_by_case(
    labels: Sequence[dict[str, Any]], said: dict[str, Verdict]
) -> dict[str, float | None]:
    """Of each case that is to be rejected, the share rejected for the kind that it has."""
    faulty = [label for label in labels if label["kind"]]
    return {
        case: _share(said[x["id"]].kind == x["kind"] for x in faulty if x["case"] == case)
        for case in sorted({label["case"] for label in faulty})
    }


def heads(
    prepared: Path, labels: Sequence[dict[str, Any]], said: dict[str, Verdict]
) -> dict[str, float]:
    """Silence before the speech in what was kept of the long heads, ms, by silence.py."""
    kept = [said[x["id"]].key for x in labels if x["case"] in HEAD_CASES and said[x["id"]].is_kept]
    if not kept:
        return {}
    clips = [audio.read(prepared / "audio" / f"{key}.flac") for key in kept]
    ms = [silence.speech_span(clip, SAMPLE_RATE).head_ms for clip in clips]
    return {"head_p50_ms": round(float(np.median(ms)), 1), "head_max_ms": round(max(ms), 1)}


def interview(set_dir: Path, kept: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Seconds of the interview's turns, and of what was kept of each: `host_s`, `kept_guest_s`…"""
    turns = _rows(set_dir / "interview" / "turns.jsonl")
    cuts = [row for row in kept if Path(row["source"]).name == "interview.flac"]
    if not cuts:
        return {}
    seconds: dict[str, float] = defaultdict(float)
    for turn in turns:
        seconds[f"{turn['role']}_s"] += turn["end_s"] - turn["start_s"]
        seconds[f"kept_{turn['role']}_s"] += sum(_overlap_s(turn, cut) for cut in cuts)
    mixed = [cut for cut in cuts if len({t["role"] for t in turns if _overlap_s(t, cut) > 0.2}) > 1]
    return {name: round(s, 1) for name, s in seconds.items()} | {"kept_mixed_clips": len(mixed)}


def _overlap_s(one: dict[str, Any], other: dict[str, Any]) -> float:
    return float(
        max(0.0, min(one["end_s"], other["end_s"]) - max(one["start_s"], other["start_s"]))
    )


def _share(claims: Iterable[bool]) -> float | None:
    listed = list(claims)
    return round(sum(listed) / len(listed), 3) if listed else None


def _shown(outcome: Outcome) -> dict[str, object]:
    reasons = ", ".join(f"{n} {kind}" for kind, n in outcome.rejected.most_common())
    return {
        "clips": outcome.clips,
        "expected": outcome.expected,
        "kept": outcome.kept,
        "flagged": outcome.flagged,
        "rejected for": reasons,
    }


def _table(name: str, rows: dict[str, dict[str, Any]]) -> str:
    head = [name, *(column.replace("_", " ") for column in next(iter(rows.values())))]
    body = [
        [key, *("-" if cell is None else str(cell) for cell in row.values())]
        for key, row in rows.items()
    ]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, *body]
    )
    return "\n".join(lines) + "\n"


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise SystemExit(f"{path} is missing: is this what prepare, or build.py, wrote?")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    sys.exit(main())
