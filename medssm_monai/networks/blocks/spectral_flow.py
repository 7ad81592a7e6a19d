"""SpectralFlow of MedSpectralNet: a low-frequency stream from filters made of the whole map, and its residue."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.layers import Conv, Norm, Pool

from ..layers import SynchronizedBatchNorm

__all__ = ["SpectralFlow"]

MAX_GROUPS = 8
SYNCHRONIZED = (nn.SyncBatchNorm, SynchronizedBatchNorm)  # whose batch is that of all processes


class SpectralFlow(nn.Module):
    """Split a map into a low- and a high-frequency stream and add them up again with learnt weights.

    1. The map's average → 1×1 convolution → ``groups · k²`` coefficients → BatchNorm → softmax over the ``k²`` places:
       one filter per image and channel group.
    2. 1×1 convolution from C to C/2 channels, cut into ``k × k`` patches; each patch becomes its weighted sum, which
       is written to all places of the patch.
    3. 1×1 convolution back to C: the low stream. The high stream is the input minus the low stream.
    4. The average of each stream → Conv1×1(C → C/4) → ReLU → Conv1×1(C/4 → C); softmax over the two streams; weighted
       sum → 1×1 convolution.

    The cost grows linearly with the number of pixels.

    Args:
        spatial_dims: 2 or 3 (``k³`` places).
        channels: ``C``, at least 4.
        kernel_size: ``k``, at least 2; odd with ``overlap``.
        groups: wanted number of filters per image; falls to the largest divisor of ``C // 2`` that is not above it.
        overlap: patches around every pixel (stride 1, zeros beyond the border) instead of side by side.

    Raises:
        ValueError: for values outside the ranges above.

    Source: Afrin et al., MedSpectralNet, PLoS One 21(4) e0346128 (2026), section 3.2 and figure 2.
    Decisions, where the text is silent: patches lie side by side; the map is padded with zeros at its far ends when
    its sizes are no multiple of ``k``; all convolutions have a bias; the reduced widths are rounded down.
    """

    def __init__(
        self, spatial_dims: int, channels: int, kernel_size: int = 3, groups: int = MAX_GROUPS, overlap: bool = False
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}.")
        if channels < 4:
            raise ValueError(f"SpectralFlow squeezes the channels to a quarter, channels must be >= 4, got {channels}.")
        if kernel_size < 2 or (overlap and kernel_size % 2 == 0):
            raise ValueError(f"kernel_size must be at least 2, and odd with overlap=True, got {kernel_size}.")
        if groups < 1:
            raise ValueError(f"groups must be at least 1, got {groups}.")
        reduced, hidden = channels // 2, channels // 4
        conv = Conv[Conv.CONV, spatial_dims]
        self.spatial_dims, self.kernel_size, self.overlap = spatial_dims, kernel_size, overlap
        self.groups = max(g for g in range(1, groups + 1) if reduced % g == 0)
        coefficients = self.groups * kernel_size**spatial_dims
        self.pool = Pool[Pool.ADAPTIVEAVG, spatial_dims](1)
        self.coefficients = conv(channels, coefficients, 1)
        self.norm = Norm[Norm.BATCH, spatial_dims](coefficients)
        self.reduce = conv(channels, reduced, 1)
        self.restore = conv(reduced, channels, 1)
        self.attend_low, self.attend_high = (
            nn.Sequential(conv(channels, hidden, 1), nn.ReLU(), conv(hidden, channels, 1)) for _ in range(2)
        )
        self.project = conv(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, C, *spatial)`` to the same shape.

        Raises:
            ValueError: in training mode with a batch of one sample, whose pooled vector has no variance.
        """
        low, high = self.streams(x)
        scores = torch.stack([self.attend_low(self.pool(low)), self.attend_high(self.pool(high))])  # (2, B, C, 1, ...)
        weights = scores.softmax(0)
        return self.project(weights[0] * low + weights[1] * high)

    def filters(self, x: torch.Tensor) -> torch.Tensor:
        """Filters ``(B, groups, k²)`` (``k³`` in 3D) of a map ``(B, C, *spatial)``; each sums to one."""
        if self.norm.training and x.shape[0] == 1 and not isinstance(self.norm, SYNCHRONIZED):
            raise ValueError(
                "SpectralFlow cannot train with a batch of one sample: its BatchNorm sees one pooled vector, which has "
                "no variance. Use a batch size of at least 2 with drop_last=True, or call eval() first."
            )
        coefficients = self.norm(self.coefficients(self.pool(x)))  # (B, groups * k², 1, ...)
        return coefficients.reshape(x.shape[0], self.groups, -1).softmax(-1)

    def streams(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Low- and high-frequency stream of a map ``(B, C, *spatial)``, same shape each; they add up to the map."""
        low = self.restore(self._filtered(self.reduce(x), self.filters(x)))
        return low, x - low

    def _filtered(self, x: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
        """Weighted sum of each patch of ``x (B, C/2, *spatial)``, at all places of the patch."""
        k, dims = self.kernel_size, self.spatial_dims
        padding: list[int] = []
        for axis in range(x.dim() - 1, 1, -1):  # F.pad counts the axes from the last one
            padding += [k // 2, k // 2] if self.overlap else [0, -x.shape[axis] % k]
        patches = F.pad(x, padding).unflatten(1, (self.groups, -1))  # (B, groups, C/2/groups, *padded)
        for axis in range(3, 3 + dims):
            if self.overlap:
                size = patches.shape[axis] - k + 1
                patches = torch.stack([patches.narrow(axis, i, size) for i in range(k)], dim=-1)
            else:
                patches = patches.unflatten(axis, (-1, k)).movedim(axis + 1, -1)
        patches = patches.flatten(-dims)  # (B, groups, C/2/groups, *patch grid, k²)
        low = torch.matmul(patches.flatten(2, -2), filters.unsqueeze(-1))  # (B, groups, C/2/groups * patches, 1)
        low = low.reshape(x.shape[:2] + patches.shape[3:-1])
        if not self.overlap:
            for axis in range(2, 2 + dims):  # every place takes the sum of its patch; the padding gets none
                patch = torch.arange(x.shape[axis], device=x.device) // k
                low = low.index_select(axis, patch)
        return low
