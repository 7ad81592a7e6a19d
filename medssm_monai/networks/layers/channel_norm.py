"""Layer normalization over the channels of channel-first maps."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

__all__ = ["ChannelLayerNorm"]


class ChannelLayerNorm(nn.LayerNorm):
    """``torch.nn.LayerNorm`` over axis 1 of ``(B, C, *spatial)``, each position on its own.

    Reachable as ``monai.networks.layers.Norm["channel_layer"]`` after :func:`medssm_monai.register`.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, C, *spatial)`` to the same shape."""
        x = F.layer_norm(x.movedim(1, -1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.movedim(-1, 1)
