"""ContextGate of MedSpectralNet: local and global context, gated channel by channel and place by place."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.layers import Conv

from .spectral_flow import MAX_GROUPS, SpectralFlow

__all__ = ["ContextGate"]


class ContextGate(nn.Module):
    """``x + Conv1×1(concat(c, i) ⊙ concat(g, g))`` with three paths of ``C // 3`` channels each.

    Context ``c``: depthwise 3×3 → 1×1 → :class:`SpectralFlow`. Gate ``g``: 1×1 → GELU. Identity ``i``: 1×1.

    Args:
        spatial_dims: 2 or 3.
        channels: ``C``, at least 12.
        kernel_size, groups, overlap: of the SpectralFlow inside.

    Raises:
        ValueError: for fewer channels, and what :class:`SpectralFlow` raises.

    Source: Afrin et al., MedSpectralNet, PLoS One 21(4) e0346128 (2026), section 3.3, equations 2 and 3, figure 3.
    Decisions: ``C / 3`` is rounded down; the depthwise convolution belongs to the context path alone; biases are on.
    """

    def __init__(
        self, spatial_dims: int, channels: int, kernel_size: int = 3, groups: int = MAX_GROUPS, overlap: bool = False
    ) -> None:
        super().__init__()
        if channels < 12:
            raise ValueError(f"ContextGate needs SpectralFlow on a third of its channels: at least 12, got {channels}.")
        width = channels // 3
        conv = Conv[Conv.CONV, spatial_dims]
        self.context = nn.Sequential(
            conv(channels, channels, 3, padding=1, groups=channels),
            conv(channels, width, 1),
            SpectralFlow(spatial_dims, width, kernel_size, groups, overlap),
        )
        self.gate = conv(channels, width, 1)
        self.identity = conv(channels, width, 1)
        self.project = conv(2 * width, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, C, *spatial)`` to the same shape.

        Raises:
            ValueError: in training mode with a batch of one sample.
        """
        gate = F.gelu(self.gate(x))
        paths = torch.cat([self.context(x), self.identity(x)], dim=1)  # (B, 2 * (C // 3), *spatial)
        return x + self.project(paths * torch.cat([gate, gate], dim=1))
