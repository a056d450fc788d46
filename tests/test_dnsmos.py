from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orpheus_clone import dnsmos
from orpheus_clone.audio import Waveform
from orpheus_clone.dnsmos import Dnsmos
from orpheus_clone.errors import MachineError
from tests.conftest import DATA_SAMPLES
from tests.signals import noise, zeros

RATE = 24_000
SPEECH: Waveform = soundfile.read(DATA_SAMPLES / "001.flac", dtype="float32")[0]


@pytest.fixture(scope="module")
def mos() -> Dnsmos:
    return dnsmos.load()


def test_it_tells_clean_from_noisy(mos: Dnsmos) -> None:
    assert len(mos.digest) == 64
    assert mos(SPEECH) > 3.0
    assert mos(SPEECH + noise(len(SPEECH) * 1000 / RATE, -25)[: len(SPEECH)]) < 2.2


def test_short_and_long_clips_are_heard_from_several_threads(mos: Dnsmos) -> None:
    clips = [SPEECH[24_000:36_000], np.tile(SPEECH, 2)[: 12 * RATE], zeros(100)]
    alone = [mos(clip) for clip in clips]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(mos, clips)) == alone
    assert all(1 <= score <= 5 for score in alone)
    assert alone[1] > 3.0


def test_a_long_clip_is_heard_to_its_end(mos: Dnsmos) -> None:
    """9.1 s are two windows, and the second one begins 0.1 s into the clip."""
    clip = np.tile(SPEECH, 2)[: round(9.1 * RATE)]
    windows: list[Waveform] = []

    class Listening(Dnsmos):
        def _score(self, window: Waveform) -> float:
            windows.append(window)
            return 3.0

    listening = Listening.__new__(Listening)
    assert listening(clip) == 3.0
    assert [len(w) for w in windows] == [Dnsmos.WINDOW] * 2
    late = round(9.1 * Dnsmos.RATE) - Dnsmos.WINDOW
    assert np.array_equal(windows[0][late:], windows[1][:-late])


@pytest.mark.parametrize("package", ["speechmos", "onnxruntime"])
def test_where_a_package_is_missing_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setattr(
        dnsmos, "find_spec", lambda name: None if name == package else find_spec(name)
    )
    with pytest.raises(MachineError, match=rf"needs {package}: pip install"):
        dnsmos.load()


def test_a_package_without_its_model_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "speechmos").mkdir()
    (tmp_path / "speechmos" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MachineError, match=r"sig_bak_ovr\.onnx is missing"):
        dnsmos.load()
