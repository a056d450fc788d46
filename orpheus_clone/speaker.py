"""Who speaks: a unit vector for a stretch of speech, near another's where the speaker is the same.

The network is ECAPA-TDNN (ecapa.py) with the weights of speechbrain/spkrec-ecapa-voxceleb
(Apache-2.0), from a path or the hub. The cosine of two vectors is their similarity:

                                       same speaker     another
    two sentences, LibriSpeech             0.67           0.11     (equal error rate 0.2 %)
    a sentence and a voice's mean          0.81           0.1
    two parts of 1.5 s                     0.47           0.07

A clip is heard once: vectors of parts of it are pooled from the same frames as the whole's, so
they cost next to nothing. The silence around the speech is left out of the whole, and that within
it out of the parts: a second of pause is nobody else's.
"""

import contextlib
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from orpheus_clone import disk
from orpheus_clone.audio import Waveform
from orpheus_clone.errors import ArtifactError, AudioError, MachineError, NoSpeechError
from orpheus_clone.tokens import SAMPLE_RATE

if TYPE_CHECKING:
    import torch

    from orpheus_clone.ecapa import Ecapa

Embedding = NDArray[np.float32]
"""(192,), of length 1."""

HUB = "speechbrain/spkrec-ecapa-voxceleb"
FILE = "embedding_model.ckpt"
SHA256 = "0575cb64845e6b9a10db9bcb74d5ac32b326b8dc90352671d345e2ee3d0126a2"
REVISION = 1
"""Changes whenever this module would make other vectors of the same samples."""

PART_S = 1.5
"""Of speech in a part; shorter ones are too noisy to judge by."""
SHORTEST_S = 0.1
"""A shorter clip is repeated until it is this long: the network reaches over nine frames."""
SPEECH_BELOW_LOUD_DB = 30.0
"""Frames further below the clip's loud ones (their 95th percentile) are taken for silence."""
SQUEEZED_AROUND = 75
"""Frames either way: as in a part that is heard alone. Over the whole clip, one voice in it makes
the other's parts less like themselves: a second of a stranger was found in 3 of 10, now in 8."""
PROBE_S = 5.0
"""How long the hub may take to answer at all."""
POOLED_TOGETHER = 16
"""Parts; more would only take memory."""
_FRAMES_A_SECOND = 100


class SpeakerModel(Protocol):
    """Tells speakers apart; both methods may be called from several threads at once."""

    digest: str
    """Names the weights and what else decides the vectors, so that they can be kept under it."""

    def embed(self, samples: Waveform) -> Embedding:
        """(samples,) at 24 kHz to a unit vector; NoSpeechError where all is digital silence."""
        ...

    def embed_parts(self, samples: Waveform) -> tuple[Embedding, list[Embedding]]:
        """What `embed` says, and the same of overlapping parts of `PART_S`, in order.

        None where there is not enough speech for two parts that overlap by half.
        """
        ...


def load(path: Path | None = None, *, device: str | None = None) -> SpeakerModel:
    """The model in `path` (a file, or a folder that holds embedding_model.ckpt), else the hub's.

    Raises ArtifactError where `path` is not it, and MachineError where the hub cannot be reached.
    """
    import torch

    from orpheus_clone.ecapa import Ecapa

    file = _fetch() if path is None else _found(path)
    digest = disk.sha256_file(file)
    if path is None and digest != SHA256:
        raise ArtifactError(
            f"{file}: has sha256 {digest}, not {SHA256}: {HUB} was altered or its download broken. "
            "Remove the file, or pass the path of a good one"
        )
    network = Ecapa()
    try:
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except (
        OSError,
        RuntimeError,
        EOFError,
        TypeError,
        AttributeError,
        pickle.UnpicklingError,
    ) as e:
        raise ArtifactError(
            f"{file}: does not hold ECAPA-TDNN's weights (1024 channels, 192 numbers out, as in "
            f"{HUB}): {_first_line(e)}"
        ) from e
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return EcapaSpeakerModel(network, digest, chosen)


class EcapaSpeakerModel:
    """ECAPA-TDNN behind `SpeakerModel`.

    On a CPU that multiplies bfloat16 it does so, three times as fast: vectors differ from those in
    float32 by 1e-4 in cosine, another sentence's by 0.3.
    """

    def __init__(self, network: "Ecapa", weights_digest: str, device: "torch.device") -> None:
        self._network = network.eval().to(device)
        self._device = device
        self._is_half = device.type == "cpu" and _multiplies_bfloat16()
        precision = "bfloat16" if self._is_half else "float32"
        self.digest = f"ecapa-{REVISION}-{precision}-{weights_digest}"

    def embed(self, samples: Waveform) -> Embedding:
        """See `SpeakerModel`."""
        whole: Embedding = self._pooled(_without_ends(*self._frames(samples)))[0]
        return whole

    def embed_parts(self, samples: Waveform) -> tuple[Embedding, list[Embedding]]:
        """See `SpeakerModel`."""
        import torch

        frames, is_speech = self._frames(samples)
        speech = frames[:, :, is_speech]
        spans = part_spans(speech.shape[2], round(PART_S * _FRAMES_A_SECOND))
        whole = self._pooled(_without_ends(frames, is_speech))[0]
        parts: list[Embedding] = []
        for first in range(0, len(spans), POOLED_TOGETHER):
            some = spans[first : first + POOLED_TOGETHER]
            parts += list(self._pooled(torch.cat([speech[:, :, a:b] for a, b in some])))
        return whole, parts

    def _frames(self, samples: Waveform) -> "tuple[torch.Tensor, torch.Tensor]":
        """(1, channels, frames), and in which of the frames somebody speaks."""
        import torch

        from orpheus_clone import ecapa

        heard = torch.from_numpy(_at_16k(samples)).to(self._device)
        with self._arithmetic():
            db = ecapa.mel_db(heard[None])
            frames: torch.Tensor = self._network.frames(
                db - db.mean(dim=2, keepdim=True), SQUEEZED_AROUND
            )
            return frames, _is_speech(db)

    def _pooled(self, frames: "torch.Tensor") -> NDArray[np.float32]:
        """(parts, channels, frames) to unit vectors (parts, 192)."""
        with self._arithmetic():
            vectors = self._network.pool(frames).float().cpu().numpy()
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    @contextlib.contextmanager
    def _arithmetic(self) -> Iterator[None]:
        import torch

        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=self._is_half),
        ):
            yield


def part_spans(frames: int, length: int) -> list[tuple[int, int]]:
    """Where parts of `length` frames begin and end: each half over the one before it, the last
    at the very end; none where two would overlap by more than half."""
    if frames < length + length // 2:
        return []
    starts = list(range(0, frames - length + 1, length // 2))
    if starts[-1] + length < frames:
        starts.append(frames - length)
    return [(start, start + length) for start in starts]


def _without_ends(frames: "torch.Tensor", is_speech: "torch.Tensor") -> "torch.Tensor":
    """From the first frame in which somebody speaks to the last; pauses help to tell who does."""
    spoken = is_speech.nonzero()[:, 0]
    return frames[:, :, int(spoken[0]) : int(spoken[-1]) + 1]


def _is_speech(db: "torch.Tensor") -> "torch.Tensor":
    """(1, bands, frames) mel levels to (frames,) booleans; at least one is true."""
    import torch

    level = torch.logsumexp(db[0] * (math.log(10) / 10), dim=0) * (10 / math.log(10))
    return level >= torch.quantile(level, 0.95) - SPEECH_BELOW_LOUD_DB


def _at_16k(samples: Waveform) -> Waveform:
    """At 16 kHz, and repeated to `SHORTEST_S`; errors where there is nothing to hear."""
    import soxr

    from orpheus_clone import ecapa

    if not np.isfinite(samples).all():
        raise AudioError("samples that are not numbers have no speaker")
    if not samples.any():
        raise NoSpeechError("all samples are zero or there are none: nobody speaks")
    heard = np.asarray(soxr.resample(samples, SAMPLE_RATE, ecapa.RATE), np.float32)
    shortest = round(SHORTEST_S * ecapa.RATE)
    return np.resize(heard, shortest) if len(heard) < shortest else heard


def _found(path: Path) -> Path:
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise ArtifactError(f"{file}: no such file; it is {FILE} of {HUB} that is needed here")
    return file


def _fetch() -> Path:
    """The file in the hub's cache, fetched if it is not there yet."""
    import httpx
    from huggingface_hub import constants, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import LocalEntryNotFoundError

    with contextlib.suppress(LocalEntryNotFoundError):
        return Path(hf_hub_download(HUB, FILE, local_files_only=True))
    try:
        if not constants.HF_HUB_OFFLINE:
            # Without a network the hub's client would try for half a minute.
            httpx.head(hf_hub_url(HUB, FILE), timeout=PROBE_S)
        return Path(hf_hub_download(HUB, FILE))
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise MachineError(
            f"the speaker model ({HUB}, 83 MB, Apache-2.0) is not on this machine and cannot be "
            f"fetched: {_first_line(error)}. Download {FILE} from https://huggingface.co/{HUB} "
            "elsewhere and pass its path"
        ) from error


def _multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for it; False where torch is too old to say."""
    import torch

    told: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(told.get(name) for name in ("amx_bf16", "avx512_bf16"))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
