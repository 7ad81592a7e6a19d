"""The block of MedConvMamba: a convolution for local detail, then a Mamba mixer for the whole image."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
from monai.networks.layers import Conv

from ..initialization import near_identity
from ..layers import BranchDropout
from .gated_conv_mixer import build_mixer

__all__ = ["SConvsSSM"]


class SConvsSSM(nn.Module):
    """SConvs-SSM: ``x = Conv3(x)``, then ``x + Mixer(LayerNorm(x))``, on channel-last maps of any size.

    Args:
        dim: channels ``C``.
        scan: ``"selective"`` (Mamba) or ``"identity"`` (ablation: :func:`~.gated_conv_mixer.build_mixer`).
        spatial_dims: 2 or 3.
        dropout: probability, before the residual sum.
        mixer_args: further arguments of the mixer (``d_state``, ``orders``, ...).

    Raises:
        ValueError: when ``scan`` is neither.

    Source: MedConvMamba, section II and figure 2. Decision: the residual goes around LayerNorm and mixer, as the figure
    shows, and not around the convolution.
    """

    def __init__(
        self, dim: int, scan: str = "selective", spatial_dims: int = 2, dropout: float = 0.0, **mixer_args: Any
    ) -> None:
        super().__init__()
        self.conv = Conv[Conv.CONV, spatial_dims](dim, dim, 3, padding=1)
        self.norm = nn.LayerNorm(dim)
        self.mixer = build_mixer(dim, scan, spatial_dims=spatial_dims, **mixer_args)
        self.dropout = BranchDropout(dropout)

    def start_signal(self) -> None:
        """Let images pass: without a residual around it a chain of such convolutions would shrink them away."""
        near_identity(self.conv, share=0.25)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, *spatial, C)`` to the same shape."""
        x = self.conv(x.movedim(-1, 1)).movedim(1, -1)  # (B, *spatial, C)
        return x + self.dropout(self.mixer(self.norm(x)))
