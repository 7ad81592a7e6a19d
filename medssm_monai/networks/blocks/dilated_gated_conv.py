"""Dilated gated convolution of ClinicalFMamba, on channel-first maps ``(B, C, *spatial)``."""

from __future__ import annotations

import torch
import torch.nn as nn
from monai.networks.layers import Conv, Norm

from ..layers import BranchDropout

__all__ = ["DilatedGatedConv"]

SLOPE = 0.2


class DilatedGatedConv(nn.Module):
    """Two gated branches, a dilated convolution and, in 2D, a small pyramid of one shared convolution; residual.

    ``a = LReLU(conv3(BN x))``, ``b = LReLU(conv1(BN x))``, ``c = LReLU(dilated conv3(BN(a·b)))``. In 3D the output is
    ``x + c``; in 2D ``q = LReLU(BN(c))`` passes a shared 3×3 convolution ``p`` once, twice and three times, and the
    output is ``x + p(q) + p(p(q)) + p(p(p(q)))``. The branches ``a`` and ``b`` have a batch norm each; the slope of the
    leaky ReLU is 0.2.

    Args:
        spatial_dims: 2 or 3.
        channels: ``C``.
        dilation: of the third convolution.
        dropout: probability on the branch before the residual.

    Source: ClinicalFMamba (Zhou & Khalvati, 2025), encoder; the 2D pyramid as in the authors' public code.
    """

    def __init__(self, spatial_dims: int, channels: int, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        conv, norm = Conv[Conv.CONV, spatial_dims], Norm[Norm.BATCH, spatial_dims]
        self.wide = nn.Sequential(norm(channels), conv(channels, channels, 3, padding=1), nn.LeakyReLU(SLOPE))
        self.narrow = nn.Sequential(norm(channels), conv(channels, channels, 1), nn.LeakyReLU(SLOPE))
        dilated = conv(channels, channels, 3, padding=dilation, dilation=dilation)
        self.dilated = nn.Sequential(norm(channels), dilated, nn.LeakyReLU(SLOPE))
        self.pyramid_norm = nn.Sequential(norm(channels), nn.LeakyReLU(SLOPE)) if spatial_dims == 2 else None
        self.pyramid = conv(channels, channels, 3, padding=1) if spatial_dims == 2 else None
        self.dropout = BranchDropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, C, *spatial)`` to the same shape."""
        y = self.dilated(self.wide(x) * self.narrow(x))
        if self.pyramid is not None and self.pyramid_norm is not None:
            once = self.pyramid(self.pyramid_norm(y))
            twice = self.pyramid(once)
            y = once + twice + self.pyramid(twice)
        return x + self.dropout(y)
