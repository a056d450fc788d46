"""A recording of any length and format to a working copy: 24 kHz mono FLAC, in flat memory.

The copy is named by the recording's digest and by how it was read, so it is made once. Later
stages read slices of it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from orpheus_clone import audio, disk
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import ArtifactError
from orpheus_clone.tokens import SAMPLE_RATE

REVISION = 1
"""Changes whenever a recording would be read, mixed or resampled otherwise."""


def working_copy(recording: Path, digest: str, cache: Path) -> Path:
    """`cache`/<digest>-<REVISION>.flac, made if it is not there; AudioError where it cannot be.

    What is there is whole: it took its name when its last block was on the disk.
    """
    copy = cache / f"{digest}-{REVISION}.flac"
    if not copy.is_file():
        with disk.atomic_file(copy) as temporary, temporary.open("wb+") as file:
            _write(file, audio.blocks(recording))
    return copy


def read_span(copy: Path, start_s: float, end_s: float) -> Waveform:
    """The samples between two times of a working copy, clamped to its length."""
    try:
        with soundfile.SoundFile(copy) as file:
            if (file.samplerate, file.channels) != (SAMPLE_RATE, 1):
                raise ArtifactError(f"{copy}: is no working copy; delete it and prepare again")
            start = min(max(0, round(start_s * SAMPLE_RATE)), file.frames)
            end = min(max(start, round(end_s * SAMPLE_RATE)), file.frames)
            file.seek(start)
            samples: Waveform = file.read(end - start, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise ArtifactError(
            f"{copy}: the working copy cannot be read ({error}); delete it and prepare again"
        ) from error
    return samples


def _write(file: BinaryIO, blocks: Iterator[Waveform]) -> None:
    honest = _Honest(file)
    with soundfile.SoundFile(
        honest, "w", SAMPLE_RATE, channels=1, subtype="PCM_16", format="FLAC"
    ) as encoder:
        for block in blocks:
            encoder.write(np.frombuffer(audio.pcm16(block), dtype="<i2"))
            honest.check()
    honest.check()


class _Honest:
    """A file for libsndfile to write to, which by itself does not say that a disk is full."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._error: OSError | None = None
        self.tell, self.read = file.tell, file.read

    def write(self, data: bytes) -> int:
        """The reason of a failure is kept for `check`: no exception gets through libsndfile."""
        try:
            self._file.write(data)
        except OSError as error:
            self._error = self._error or error
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """As `write`: to seek, what is buffered is written first."""
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            self._error = self._error or error
        return offset

    def check(self) -> None:
        """Raise what went wrong, if something did."""
        try:
            self._file.flush()
        except OSError as error:
            self._error = self._error or error
        if self._error:
            raise self._error
