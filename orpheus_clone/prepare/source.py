"""A recording that was decoded: its working copy, and where somebody speaks in it."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile

from orpheus_clone import disk, tokens
from orpheus_clone.errors import AudioError
from orpheus_clone.manifest import Rejected
from orpheus_clone.prepare import segment
from orpheus_clone.prepare.decode import working_copy
from orpheus_clone.prepare.segment import Probabilities
from orpheus_clone.prepare.transcripts import Cue, Recording

Progress = Callable[[int, int], None]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Source:
    """See the module docstring; `digest` is that of the recording's bytes."""

    recording: Recording
    digest: str
    copy: Path
    seconds: float

    @property
    def id(self) -> str:
        """The recording's."""
        return self.recording.id

    @property
    def cues(self) -> tuple[Cue, ...]:
        """What a timed transcript says, if there is one."""
        return self.recording.cues

    def speech(self) -> Probabilities:
        """(hops,) that somebody speaks, computed once."""
        path = self.copy.with_suffix(".speech.npy")
        if not path.is_file():
            with disk.atomic_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, segment.speech(self.copy).astype(np.float16))
        loaded: Probabilities = np.load(path).astype(np.float32)
        return loaded


def decode(
    recordings: Sequence[Recording], cache: Path, threads: int, progress: Progress
) -> tuple[list[Source], list[Rejected]]:
    """A source for each recording that can be read."""

    def one(recording: Recording) -> Source | Rejected:
        try:
            digest = disk.sha256_file(recording.path)
            copy = working_copy(recording.path, digest, cache)
        except AudioError as error:
            return Rejected(recording.id, str(recording.path), "unreadable", str(error))
        seconds = soundfile.info(copy).frames / tokens.SAMPLE_RATE
        return Source(recording, digest, copy, seconds)

    results = in_parallel(one, recordings, threads, progress)
    sources = [result for result in results if isinstance(result, Source)]
    return sources, [result for result in results if isinstance(result, Rejected)]


def in_parallel(
    one: Callable[[T], R], items: Sequence[T], threads: int, progress: Progress
) -> list[R]:
    """`one` of each item, in order; Ctrl-C waits for no more than what has begun."""
    results: list[R] = []
    progress(0, len(items))
    with ThreadPoolExecutor(threads) as pool:
        try:
            for done, result in enumerate(pool.map(one, items), start=1):
                results.append(result)
                progress(done, len(items))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


@contextlib.contextmanager
def one_core_each() -> Iterator[None]:
    """Torch would use all cores in each of the threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
