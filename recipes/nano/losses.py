"""What the codec is trained against: spectra at several resolutions, and, on a GPU, critics.

The mel loss is DAC's (Kumar et al. 2023, arXiv:2306.06546, section 3.4): L1 between log magnitudes
of mel spectra at several window lengths; here with a floor, since two noises never agree. The
critics are the least-squares GAN of HiFi-GAN (Kong et al. 2020, arXiv:2010.05646): some look at the
waveform folded by a period, some, as in EnCodec (Défossez et al. 2022, arXiv:2210.13438), at the
complex spectrum.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, leaky_relu, pad
from torch.nn.utils.parametrizations import weight_norm
from transformers.audio_utils import mel_filter_bank

from orpheus_clone import tokens

WINDOWS = (64, 128, 256, 512, 1024, 2048)
MELS = (10, 20, 40, 80, 128, 160)
FLOOR = 5e-4
"""The mean magnitude of white noise at -60 dBFS: what is softer need not be alike."""
PERIODS = (2, 3, 5, 7, 11)
SPECTRA = (512, 1024, 2048)
ONE_SPECTRUM = (1024,)
"""For a CPU, where a critic of spectra costs as much as three of periods."""

Judgement = tuple[Tensor, list[Tensor]]
"""A critic's scores, and its layers' activations."""


class MelLoss(nn.Module):
    """Mean over the resolutions of the L1 distance between log10 mel magnitudes."""

    def __init__(self) -> None:
        super().__init__()
        for window, mels in zip(WINDOWS, MELS, strict=True):
            bank = mel_filter_bank(
                window // 2 + 1,
                mels,
                0,
                tokens.SAMPLE_RATE / 2,
                tokens.SAMPLE_RATE,
                mel_scale="slaney",
            ).T
            # Few bins make some filters empty; they say nothing and only dilute the mean.
            bank = bank[bank.sum(axis=1) > 0]
            bank /= bank.sum(axis=1, keepdims=True)
            self.register_buffer(f"bank{window}", torch.from_numpy(bank).float())
            self.register_buffer(f"window{window}", torch.hann_window(window))

    def forward(self, heard: Tensor, wanted: Tensor) -> Tensor:
        """Both (batch, 1, samples) to a scalar."""
        distances = [l1_loss(self._mel(heard, w), self._mel(wanted, w)) for w in WINDOWS]
        return torch.stack(distances).mean()

    def _mel(self, samples: Tensor, window: int) -> Tensor:
        hann: Tensor = getattr(self, f"window{window}")
        bank: Tensor = getattr(self, f"bank{window}")
        spectrum = torch.stft(
            samples[:, 0].float(),
            window,
            window // 4,
            window=hann,
            normalized=True,
            return_complex=True,
        )
        # abs() has no gradient at zero.
        magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-10).sqrt()
        return (bank @ magnitude).clamp_min(FLOOR).log10()


class PitchLoss(nn.Module):
    """How far the sound below 600 Hz is from the recording's, phase and all, relative to it.

    Magnitudes do not teach pitch: a decoder that knows no phase from its codes oscillates at its
    own frame rate, and speech becomes a whisper with a hum. 1 is what silence would get. Energies
    are added up over a crop, so the voice counts and what noise there is beside it does not.
    """

    WINDOW = 1024
    BINS = slice(2, 26)

    def __init__(self) -> None:
        super().__init__()
        self.hann: Tensor
        self.register_buffer("hann", torch.hann_window(self.WINDOW))

    def forward(self, heard: Tensor, wanted: Tensor) -> Tensor:
        """Both (batch, 1, samples) to a scalar."""
        ours, theirs = self._low(heard), self._low(wanted)
        distance = (ours - theirs).square().sum(dim=(1, 2, 3)) + 1e-6
        return (distance / (theirs.square().sum(dim=(1, 2, 3)) + 1e-2)).sqrt().mean()

    def _low(self, samples: Tensor) -> Tensor:
        spectrum = torch.stft(
            samples[:, 0].float(),
            self.WINDOW,
            self.WINDOW // 4,
            window=self.hann,
            normalized=True,
            return_complex=True,
        )
        return torch.view_as_real(spectrum[:, self.BINS])


class Critics(nn.Module):
    """Every critic's judgement of (batch, 1, samples)."""

    def __init__(self, channels: int, spectra: Sequence[int] = SPECTRA) -> None:
        super().__init__()
        by_period = [PeriodCritic(period, channels) for period in PERIODS]
        by_spectrum = [SpectrumCritic(window, channels) for window in spectra]
        self.critics = nn.ModuleList([*by_period, *by_spectrum])

    def forward(self, samples: Tensor) -> list[Judgement]:
        """(batch, 1, samples) to one judgement a critic."""
        return [critic(samples) for critic in self.critics]


class PeriodCritic(nn.Module):
    """2-D convolutions over the waveform folded into rows of one period."""

    def __init__(self, period: int, channels: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, channels, 2 * channels, 4 * channels, 8 * channels]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0))) for a, b in pairwise(widths)
        )
        self.last = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, samples: Tensor) -> Judgement:
        """(batch, 1, samples) to scores, near 1 for a recording."""
        samples = pad(samples, (0, -samples.shape[-1] % self.period), "reflect")
        folded = samples.reshape(len(samples), 1, -1, self.period)
        return _judge(folded, self.layers, self.last)


class SpectrumCritic(nn.Module):
    """2-D convolutions over the real and imaginary parts of the spectrum."""

    def __init__(self, window: int, channels: int) -> None:
        super().__init__()
        self.window = window
        self.hann: Tensor
        self.register_buffer("hann", torch.hann_window(window))
        widths = [2, channels, channels, channels, channels]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (3, 9), (1, 2), (1, 4))) for a, b in pairwise(widths)
        )
        self.last = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, samples: Tensor) -> Judgement:
        """(batch, 1, samples) to scores, near 1 for a recording."""
        spectrum = torch.stft(
            samples[:, 0].float(),
            self.window,
            self.window // 4,
            window=self.hann,
            normalized=True,
            return_complex=True,
        )
        x = torch.stack([spectrum.real, spectrum.imag], dim=1).transpose(2, 3)
        return _judge(x, self.layers, self.last)


def critics_loss(real: list[Judgement], made: list[Judgement]) -> Tensor:
    """What the critics learn: 1 for recordings, 0 for what the codec made."""
    pairs = zip(real, made, strict=True)
    return torch.stack([(r[0] - 1).square().mean() + m[0].square().mean() for r, m in pairs]).mean()


def deceive_loss(made: list[Judgement]) -> Tensor:
    """What the codec learns from the scores: to be taken for a recording."""
    return torch.stack([(score - 1).square().mean() for score, _ in made]).mean()


def feature_loss(real: list[Judgement], made: list[Judgement]) -> Tensor:
    """What the codec learns from the activations: to look like the recording at every layer."""
    layers = [
        (r, m)
        for (_, reals), (_, mades) in zip(real, made, strict=True)
        for r, m in zip(reals, mades, strict=True)
    ]
    # Relative, so that no critic counts for more because its activations are large.
    return torch.stack([l1_loss(m, r.detach()) / r.detach().abs().mean() for r, m in layers]).mean()


def _judge(x: Tensor, layers: nn.ModuleList, last: nn.Module) -> Judgement:
    activations = []
    for layer in layers:
        x = leaky_relu(layer(x), 0.1)
        activations.append(x)
    return last(x), activations
