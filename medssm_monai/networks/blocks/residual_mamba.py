"""Pre-norm residual blocks around the Mamba mixer, for one map and for a pair of maps, ``(B, *spatial, D)`` each."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn

from ..layers import BranchDropout
from .gated_conv_mixer import build_mixer

__all__ = ["ChannelExchangeBlock", "CrossMambaBlock", "MambaBlock", "exchange_channels"]


class MambaBlock(nn.Module):
    """``x + dropout(MambaMixer(LayerNorm(x)))``; all scan directions are one grouped scan.

    Args:
        dim: channels ``D``.
        dropout: probability on the branch before the residual.
        scan: ``"selective"`` or ``"identity"`` (ablation: :class:`~medssm_monai.networks.blocks.GatedConvMixer`).
        mixer_args: further arguments of :class:`~medssm_monai.networks.blocks.MambaMixer`.
    """

    def __init__(self, dim: int, dropout: float = 0.0, scan: str = "selective", **mixer_args: Any) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.mixer = build_mixer(dim, scan, **mixer_args)
        self.dropout = BranchDropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, *spatial, D)`` to the same shape."""
        return x + self.dropout(self.mixer(self.norm(x)))


class CrossMambaBlock(nn.Module):
    """Mamba block steered by a second map: ``x + dropout(MambaMixer(LayerNorm(x), LayerNorm(source)))``.

    Tokens and gate come from ``x``, the selective parameters Δ, B and C from ``source``. Decision: each map has its own
    LayerNorm, since their statistics differ. Without the scan (``scan="identity"``) nothing is left to be steered: the
    block is the gated convolution of ``x``, and ``source`` has no part in it.

    Args:
        dim: channels ``D`` of both maps.
        dropout: probability on the branch before the residual.
        scan: ``"selective"`` or ``"identity"`` (ablation: :class:`~medssm_monai.networks.blocks.GatedConvMixer`).
        mixer_args: further arguments of :class:`~medssm_monai.networks.blocks.MambaMixer`.

    Source: ClinicalFMamba (Zhou & Khalvati, 2025), cross-modal fusion.
    """

    def __init__(self, dim: int, dropout: float = 0.0, scan: str = "selective", **mixer_args: Any) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.source_norm = nn.LayerNorm(dim) if scan == "selective" else None
        self.mixer = build_mixer(dim, scan, cross=True, **mixer_args)
        self.dropout = BranchDropout(dropout)

    def forward(self, x: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Two maps ``(B, *spatial, D)`` to one of the same shape, with the residual of the first."""
        if self.source_norm is None:
            return x + self.dropout(self.mixer(self.norm(x)))
        return x + self.dropout(self.mixer(self.norm(x), self.source_norm(source)))


def exchange_channels(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Swap every second channel (1, 3, 5, ...) of the last axis between two maps of one shape; out of place."""
    odd = torch.arange(a.shape[-1], device=a.device) % 2 == 1
    return torch.where(odd, b, a), torch.where(odd, a, b)


class ChannelExchangeBlock(nn.Module):
    """Every second channel swapped between two maps, then a plain Mamba for each: ``x + Mamba(LayerNorm(swapped))``.

    Each map has its own weights and keeps its own residual. One forward scan order.

    Args:
        dim: channels ``D`` of both maps.
        dropout: probability on the branch before the residual.
        scan: ``"selective"`` or ``"identity"`` (ablation: :class:`~medssm_monai.networks.blocks.GatedConvMixer`).
        mixer_args: further arguments of :class:`~medssm_monai.networks.blocks.MambaMixer`.

    Source: ClinicalFMamba (Zhou & Khalvati, 2025), channel exchange.
    """

    def __init__(self, dim: int, dropout: float = 0.0, scan: str = "selective", **mixer_args: Any) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.mixers = nn.ModuleList(build_mixer(dim, scan, **mixer_args) for _ in range(2))
        self.dropout = BranchDropout(dropout)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Two maps ``(B, *spatial, D)`` to two of the same shape."""
        swapped = exchange_channels(a, b)
        mixed = [mix(norm(s)) for mix, norm, s in zip(self.mixers, self.norms, swapped, strict=True)]
        return a + self.dropout(mixed[0]), b + self.dropout(mixed[1])
