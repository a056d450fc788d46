"""Build the torture set: a corpus with every fault we look for, each known and labelled.

    python recipes/torture/build.py OUT_DIR --seed N [--speech FOLDER] [--wanted VOICE]

    OUT_DIR/clips/NAME.flac      the corpus; names say nothing
    OUT_DIR/clips/metadata.csv   name|what it is claimed to say; foreign speakers have no line
    OUT_DIR/labels.jsonl         {"id", "case", "expected": keep or reject, "kind", "also", …}
    OUT_DIR/interview/           interview.flac, a host (the wanted) and a guest taking turns,
                                 without transcript; turns.jsonl: who speaks when, and what
    OUT_DIR/set.json             seed, wanted speaker, whose speech it is

Everything follows from the seed: another draws other clips and other amounts.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import voices
from compose import compose
from draw import CASES


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, gather the speech, build, say what lies there."""
    args = _parser().parse_args(argv)
    cast = voices.free_voices(args.store)
    if args.speech is not None:
        cast |= voices.folder_voices(args.speech)
    items = compose(args.out_dir, cast, args.wanted, args.seed, args.clips)
    faulty = sum(bool(CASES[item.case].kind) for item in items)
    print(f"{len(items)} clips, {faulty} to be rejected, and an interview in {args.out_dir}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Build the torture set of free speech.")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="a new folder")
    parser.add_argument("--seed", type=int, required=True, help="another draws another set")
    parser.add_argument(
        "--speech", type=Path, metavar="FOLDER", help="more speakers; see voices.py"
    )
    parser.add_argument("--wanted", default="allison", metavar="VOICE", help="whose corpus it is")
    parser.add_argument("--clips", type=int, default=200, metavar="N", help="about how many")
    parser.add_argument(
        "--store", type=Path, default=Path("build"), help="where fetched packages are kept"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
