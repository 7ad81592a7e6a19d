"""Cross channel excitation of ClinicalFMamba, on channel-first maps ``(B, C, *spatial)``."""

from __future__ import annotations

import torch
import torch.nn as nn
from monai.networks.layers import Conv

__all__ = ["CrossChannelExcitation"]


class CrossChannelExcitation(nn.Module):
    """The channels of each of two maps are weighted by what the other map holds.

    ``a = conv1(source a)``, ``b = conv1(source b)``, ``weight(m) = sigmoid(mean(m) + max(m))`` over the map; output
    ``a·weight(b) + b·weight(a)``. Decision: one 1×1 convolution without bias for each source. (The authors' code
    has one for the map that weighs and one for the map that is weighed.)

    Args:
        spatial_dims: 2 or 3.
        channels: ``C`` of both maps.

    Source: ClinicalFMamba (Zhou & Khalvati, 2025), decoder.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, spatial_dims]
        self.proj_a, self.proj_b = (conv(channels, channels, 1, bias=False) for _ in range(2))

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Two maps ``(B, C, *spatial)`` to one of the same shape."""
        a, b = self.proj_a(a), self.proj_b(b)
        return a * _weight(b) + b * _weight(a)


def _weight(x: torch.Tensor) -> torch.Tensor:
    """``(B, C, *spatial)`` to ``(B, C, 1, ...)`` in (0, 1)."""
    axes = tuple(range(2, x.ndim))
    return torch.sigmoid(x.mean(axes, keepdim=True) + x.amax(axes, keepdim=True))
