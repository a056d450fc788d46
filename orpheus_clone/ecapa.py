"""ECAPA-TDNN: mel levels of speech to a vector that tells who speaks.

Desplanques et al. 2020 (arXiv:2005.07143), with 1024 channels. The modules are named so that the
weights of speechbrain/spkrec-ecapa-voxceleb load as they are; what they compute equals that
toolkit's, features included, to 1e-4.

    mel (80, frames) ─▶ TDNN ─▶ SE-Res2 x 3 ─▶ MFA (3072, frames)   `frames`: what is at each time
                                                └▶ pooling ─▶ 192   `pool`: who, over some of them

`pool` may be given any part of the frames, so that stretches of a clip cost next to nothing.
Convolutions are padded with what lies inside, mirrored, and each is followed by ReLU, then
normalisation. Tensors are (clips, channels, frames).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

RATE = 16_000
FFT_SAMPLES = 400
HOP_SAMPLES = 160
BANDS = 80
CHANNELS = 1024
SIZE = 192
FLOOR_DB = 80.0
"""What lies further below the loudest band of a clip is taken for this much below."""


def mel_db(samples: Tensor) -> Tensor:
    """(clips, samples) at 16 kHz to (clips, 80, frames), 100 frames a second, in dB."""
    window = torch.hamming_window(FFT_SAMPLES, device=samples.device)
    spectrum = torch.stft(
        samples, FFT_SAMPLES, HOP_SAMPLES, window=window, pad_mode="constant", return_complex=True
    )
    power = torch.view_as_real(spectrum).square().sum(dim=-1)
    db = 10 * torch.log10((_triangles().to(samples.device) @ power).clamp(min=1e-10))
    return torch.maximum(db, db.amax(dim=(1, 2), keepdim=True) - FLOOR_DB)


def _triangles() -> Tensor:
    """(80, 201): of height 1, evenly spaced in mel; both sides as wide as the lower one."""
    highest_mel = 2595 * math.log10(1 + RATE / 2 / 700)
    mel = torch.linspace(0.0, highest_mel, BANDS + 2)
    hertz = 700 * (10 ** (mel / 2595) - 1)
    width = hertz.diff()[:-1, None]
    bins = torch.linspace(0, RATE / 2, FFT_SAMPLES // 2 + 1)
    return (1 - (bins - hertz[1:-1, None]).abs() / width).clamp(min=0)


class Ecapa(nn.Module):
    """The whole network."""

    def __init__(self) -> None:
        super().__init__()
        dilated = [SeRes2(CHANNELS, dilation) for dilation in (2, 3, 4)]
        self.blocks = nn.ModuleList([Tdnn(BANDS, CHANNELS, kernel=5), *dilated])
        self.mfa = Tdnn(3 * CHANNELS, 3 * CHANNELS)
        self.asp = AttentivePooling(3 * CHANNELS)
        self.asp_bn = Norm(6 * CHANNELS)
        self.fc = Conv(6 * CHANNELS, SIZE)

    def frames(self, mel: Tensor, around: int | None = None) -> Tensor:
        """(clips, 80, frames) mel levels about their mean to (clips, 3072, frames).

        The network was trained with a squeeze over all of a short clip, which is None. In a long
        one that colours what one speaker says by another's voice; `around` keeps it within so
        many frames.
        """
        first, *others = self.blocks
        x: Tensor = first(mel)
        each = [x := block(x, around) for block in others]
        joined: Tensor = self.mfa(torch.cat(each, dim=1))
        return joined

    def pool(self, frames: Tensor) -> Tensor:
        """(clips, 3072, frames) to (clips, 192)."""
        pooled = self.asp_bn(self.asp(frames))
        embedding: Tensor = self.fc(pooled)
        return embedding.squeeze(2)

    def forward(self, mel: Tensor) -> Tensor:
        """`frames`, then `pool` over all of them."""
        return self.pool(self.frames(mel))


class Conv(nn.Module):
    """A convolution over time that keeps the number of frames."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation)
        self._reach = dilation * (kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(clips, inputs, frames) to (clips, outputs, frames); more frames than it reaches."""
        if self._reach:
            x = functional.pad(x, (self._reach, self._reach), mode="reflect")
        y: Tensor = self.conv(x)
        return y


class Norm(nn.Module):
    """Each channel by the mean and deviation that it had in training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shape stays."""
        y: Tensor = self.norm(x)
        return y


class Tdnn(nn.Module):
    """Convolution, ReLU, normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = Conv(inputs, outputs, kernel, dilation)
        self.norm = Norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(clips, inputs, frames) to (clips, outputs, frames)."""
        y: Tensor = self.norm(functional.relu(self.conv(x)))
        return y


class Res2(nn.Module):
    """Channels in eight groups: the first stays, each other also hears the one before it."""

    def __init__(self, channels: int, dilation: int, groups: int = 8) -> None:
        super().__init__()
        width = channels // groups
        others = range(groups - 1)
        self.blocks = nn.ModuleList(Tdnn(width, width, 3, dilation) for _ in others)

    def forward(self, x: Tensor) -> Tensor:
        """Shape stays."""
        kept, second, *others = x.chunk(len(self.blocks) + 1, dim=1)
        done = [kept, self.blocks[0](second)]
        for block, group in zip(self.blocks[1:], others, strict=True):
            done.append(block(group + done[-1]))
        return torch.cat(done, dim=1)


class SqueezeExcitation(nn.Module):
    """Each channel louder or softer by what all of them are on average."""

    def __init__(self, channels: int, bottleneck: int = 128) -> None:
        super().__init__()
        self.conv1 = Conv(channels, bottleneck)
        self.conv2 = Conv(bottleneck, channels)

    def forward(self, x: Tensor, around: int | None) -> Tensor:
        """Shape stays; the average is over `around` frames before and after, or all."""
        average = x.mean(dim=2, keepdim=True) if around is None else _moving_mean(x, around)
        return x * torch.sigmoid(self.conv2(functional.relu(self.conv1(average))))


def _moving_mean(x: Tensor, around: int) -> Tensor:
    """Over as many of the `around` frames either way as there are; by differences of sums, which
    are thirty times faster than average pooling."""
    frames = x.shape[2]
    sums = functional.pad(x.float().cumsum(dim=2), (1, 0))
    at = torch.arange(frames, device=x.device)
    first, last = (at - around).clamp(min=0), (at + around + 1).clamp(max=frames)
    mean = (sums[:, :, last] - sums[:, :, first]) / (last - first)
    return mean.to(x.dtype)


class SeRes2(nn.Module):
    """Res2 between two layers that mix all channels, then squeeze-excitation, all added to x."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.tdnn1 = Tdnn(channels, channels)
        self.res2net_block = Res2(channels, dilation)
        self.tdnn2 = Tdnn(channels, channels)
        self.se_block = SqueezeExcitation(channels)

    def forward(self, x: Tensor, around: int | None) -> Tensor:
        """Shape stays; see `SqueezeExcitation`."""
        y: Tensor = self.se_block(self.tdnn2(self.res2net_block(self.tdnn1(x))), around)
        return x + y


class AttentivePooling(nn.Module):
    """Mean and deviation over frames, weighted channel by channel by how telling a frame is."""

    def __init__(self, channels: int, attention: int = 128) -> None:
        super().__init__()
        self.tdnn = Tdnn(3 * channels, attention)
        self.conv = Conv(attention, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(clips, channels, frames) to (clips, 2 * channels, 1)."""
        everywhere = torch.cat(_mean_and_deviation(x, torch.ones_like(x) / x.shape[2]), dim=1)
        seen = torch.cat([x, everywhere.expand(-1, -1, x.shape[2])], dim=1)
        weights = self.conv(torch.tanh(self.tdnn(seen))).softmax(dim=2)
        return torch.cat(_mean_and_deviation(x, weights), dim=1)


def _mean_and_deviation(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Each (clips, channels, 1), over frames; `weights` like x, 1 in all over frames."""
    mean = (weights * x).sum(dim=2, keepdim=True)
    variance = (weights * (x - mean).square()).sum(dim=2, keepdim=True)
    return mean, variance.clamp(min=1e-12).sqrt()
