"""The torture set's scripts, which lie in no package, and speech to build it of without a fetch."""

import sys
from pathlib import Path

import pytest
import soundfile

RECIPE = Path(__file__).parents[2] / "recipes" / "torture"
sys.path.insert(0, str(RECIPE))

from voices import Utterance, Voice  # noqa: E402

from orpheus_clone import audio  # noqa: E402
from orpheus_clone.audio import Waveform  # noqa: E402
from orpheus_clone.tokens import SAMPLE_RATE  # noqa: E402
from tests.conftest import DATA_SAMPLES  # noqa: E402


@pytest.fixture(scope="session")
def speech() -> Waveform:
    return audio.read(DATA_SAMPLES / "001.flac")


@pytest.fixture(scope="session")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Utterance, ...]:
    """data_samples cut in two, with half of the words each: 36 clips."""
    folder = tmp_path_factory.mktemp("halves")
    made = []
    for line in (DATA_SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines():
        name, _, text = line.partition("|")
        whole, words = audio.read(DATA_SAMPLES / f"{name}.flac"), text.split()
        for n in (0, 1):
            path = folder / f"{name}-{n}.flac"
            half = len(whole) // 2
            soundfile.write(path, whole[n * half : (n + 1) * half], SAMPLE_RATE)
            middle = len(words) // 2
            made.append(Utterance(path, " ".join(words[:middle] if n == 0 else words[middle:])))
    return tuple(made)


@pytest.fixture(scope="session")
def cast(halves: tuple[Utterance, ...]) -> dict[str, Voice]:
    """A wanted man, a man and a woman; who is who is of no interest to the builder."""
    return {
        "wanted": Voice("wanted", "m", halves),
        "man": Voice("man", "m", tuple(Utterance(u.path, None) for u in halves[:12])),
        "woman": Voice("woman", "f", halves[12:24]),
    }
