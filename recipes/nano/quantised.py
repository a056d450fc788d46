"""SNAC's codebooks as they are trained: losses, memory, and codes that are brought back."""

import torch
from snac import SNAC
from torch import Tensor
from torch.nn import functional
from workers import gathered

from orpheus_clone import tokens

COMMITMENT_WEIGHT = 0.25
POOL = 512
"""Steps whose encoder outputs are remembered, to draw codewords from."""


class Quantised:
    """SNAC's residual quantizers as they are trained: losses, memory, and codes brought back."""

    def __init__(self, codec: SNAC) -> None:
        self._quantizers = codec.quantizer.quantizers
        device = self._quantizers[0].codebook.weight.device
        shape = (len(self._quantizers), tokens.CODEBOOK)
        self.uses = torch.zeros(shape, dtype=torch.long, device=device)
        self.pools: list[Tensor] = [torch.zeros(0, 8, device=device) for _ in self._quantizers]

    def __call__(self, z: Tensor, mix: float) -> tuple[Tensor, Tensor]:
        """(batch, latent, hops) to its quantised like and the codebooks' loss."""
        is_quantised = torch.rand(len(z), 1, 1, device=z.device) < mix
        total, loss, residual = torch.zeros_like(z), z.new_zeros(()), z
        for level, quantizer in enumerate(self._quantizers):
            pooled = functional.avg_pool1d(residual, quantizer.stride, quantizer.stride)
            inner = quantizer.in_proj(pooled)
            self._remember(level, inner)
            if mix > 0:
                chosen, codes = quantizer.decode_latents(inner)
                self.uses[level] += torch.bincount(codes.flatten(), minlength=tokens.CODEBOOK)
                loss = loss + functional.mse_loss(chosen, inner.detach())
                loss = loss + COMMITMENT_WEIGHT * functional.mse_loss(inner, chosen.detach())
                inner = torch.where(is_quantised, inner + (chosen - inner).detach(), inner)
            out = quantizer.out_proj(inner).repeat_interleave(quantizer.stride, dim=-1)
            total, residual = total + out, residual - out
        return total, loss

    @torch.no_grad()
    def open_codebooks(self) -> None:
        """Codewords where the encoder's outputs are: drawn from them, then moved by k-means."""
        for level, quantizer in enumerate(self._quantizers):
            pool = self.pools[level]
            centre = pool.mean(dim=0)
            # Nearness is measured by direction, so what all outputs share would hide the rest.
            quantizer.in_proj.bias -= centre
            quantizer.out_proj.bias += quantizer.out_proj.weight[:, :, 0] @ centre
            self.pools[level] = pool = pool - centre
            order = torch.randperm(len(pool), device=pool.device)
            drawn = pool[order.repeat(tokens.CODEBOOK // len(pool) + 1)[: tokens.CODEBOOK]]
            quantizer.codebook.weight.copy_(_kmeans(pool, drawn))

    @torch.no_grad()
    def refresh(self) -> list[int]:
        """Move codewords to where the encoder's outputs now are; how many were used, a level.

        The encoder's outputs grow faster than a codeword can follow that is taught only when it is
        chosen. One that nothing in the memory is near is drawn anew.
        """
        used = []
        for level, quantizer in enumerate(self._quantizers):
            used.append(int((self.uses[level] > 0).sum()))
            pool = gathered(self.pools[level])
            quantizer.codebook.weight.copy_(_kmeans(pool, quantizer.codebook.weight, rounds=2))
        self.uses.zero_()
        return used

    def _remember(self, level: int, inner: Tensor) -> None:
        flat = inner.detach().transpose(1, 2).flatten(0, 1).float()
        self.pools[level] = torch.cat([self.pools[level], flat])[-POOL * len(flat) :]


def _kmeans(points: Tensor, centres: Tensor, rounds: int = 10) -> Tensor:
    """(points, d) to as many centres as there were, by direction as SNAC looks codes up.

    A centre that no point is nearest to becomes a point.
    """
    directions = functional.normalize(points)
    for _ in range(rounds):
        nearest = (directions @ functional.normalize(centres).T).argmax(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        sizes = torch.bincount(nearest, minlength=len(centres))
        drawn = points[torch.randint(len(points), (len(centres),), device=points.device)]
        centres = torch.where(sizes[:, None] > 0, sums / sizes.clamp_min(1)[:, None], drawn)
    return centres
