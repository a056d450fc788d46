"""A recording of any length and format to a working copy: 24 kHz mono FLAC, in flat memory.

The copy is named by the recording's digest, so it is made once. Later stages read slices of it.
"""

from pathlib import Path

from orpheus_clone.audio import Waveform


def working_copy(recording: Path, digest: str, cache: Path) -> Path:
    """`cache`/<digest>.flac, made if it is not there; AudioError where it cannot be."""
    raise NotImplementedError


def read_span(copy: Path, start_s: float, end_s: float) -> Waveform:
    """The samples between two times of a working copy, clamped to its length."""
    raise NotImplementedError
