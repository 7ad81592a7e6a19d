"""The BSSS block of Mamba-MIS and the two blocks it is compared with, on channel-last maps ``(B, *spatial, C)``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.layers import Conv

from ...ops.tokenwise import tokenwise
from ..initialization import carry_state
from ..layers import DEPTHWISE_CONV, BranchDropout, ChannelLayerNorm
from .bfss import BFSS
from .selective_core import DirectionalS6
from .spectral_gate import SpectralGate

__all__ = ["AttentionBlock", "BSSSBlock", "ConvBlock"]

CHANNEL_FIRST = {2: (0, 3, 1, 2), 3: (0, 4, 1, 2, 3)}
"""Order in memory of the axes of ``(B, *spatial, C)`` that a Fourier transform over the spatial axes wants."""


class BSSSBlock(nn.Module):
    """Bidirectional spectral state-space block.

    Channels are split at floor(C/3) and floor(2C/3); each part passes LayerNorm → Linear to C. Part 1 → SiLU gate.
    Part 2 → depthwise 3×3 → SiLU → BFSS. Part 3 → spectral gate → LayerNorm → SiLU. Output
    ``x + Linear(gate ⊙ Linear(concat(part 2, part 3)))``. In 3D (Decision; the source is 2D only) the convolution is
    3×3×3, the scans go over three axes and the gate filters the three-dimensional transform.

    Args:
        dim: channels ``C``, at least 3.
        spatial_size: map size the spectral weights are stored for, two numbers or three, as many as the map has axes.
        d_state: state size ``N``.
        scan: as of :class:`~medssm_monai.networks.blocks.BFSS`.
        spectral_gate: ``False`` leaves part 3 without the gate (ablation).
        discretization: ``"zoh"`` or ``"euler"``.
        dropout: probability on the branch before the residual.
    """

    def __init__(
        self,
        dim: int,
        spatial_size: Sequence[int],
        d_state: int = 32,
        scan: str = "bfss",
        spectral_gate: bool = True,
        discretization: str = "zoh",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dim < 3:
            raise ValueError(f"BSSSBlock splits the channels in three parts, dim must be at least 3, got {dim}.")
        self.spatial_dims = len(spatial_size)
        cuts = (0, dim // 3, 2 * dim // 3, dim)
        self.widths = [b - a for a, b in pairwise(cuts)]
        self.lift = nn.ModuleList(nn.Sequential(nn.LayerNorm(w), nn.Linear(w, dim)) for w in self.widths)
        self.dwconv = DEPTHWISE_CONV[self.spatial_dims](dim)
        self.bfss = BFSS(dim, d_state, scan, discretization, self.spatial_dims)
        self.spectral = SpectralGate(dim, spatial_size) if spectral_gate else nn.Identity()
        self.spectral_norm = nn.LayerNorm(dim)
        self.fuse = nn.Linear(2 * dim, dim)
        self.proj = nn.Linear(dim, dim)
        self.dropout = BranchDropout(dropout)

    def start_signal(self) -> None:
        """Let the scans' state carry from the first step."""
        if isinstance(self.bfss.s6, DirectionalS6):  # not where the scan is left out
            carry_state(self.bfss.s6.bc_proj.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, *spatial, C)`` to ``(B, *spatial, C)``."""
        dims = self.spatial_dims
        local, freq = tokenwise(self._lifted, x, memory=(None, CHANNEL_FIRST[dims]), spatial_dims=dims)
        local, freq = self.bfss.scanned(self.dwconv(local, activation=True)), self.spectral(freq)
        if getattr(self.dropout, "active", True):
            return x + self.dropout(tokenwise(self._branch, x, local, freq, spatial_dims=dims))
        return tokenwise(self._merged, x, local, freq, spatial_dims=dims)

    def _lifted(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Parts 2 and 3, ``(B, *spatial, C)`` each."""
        _, local, freq = x.split(self.widths, dim=-1)
        return self.lift[1](local), self.lift[2](freq)

    def _branch(self, x: torch.Tensor, local: torch.Tensor, freq: torch.Tensor) -> torch.Tensor:
        """What is added to ``x``, from the scans' output and the filtered part 3."""
        gate = self.lift[0](x.split(self.widths, dim=-1)[0])
        local, freq = self.bfss.fused(local), F.silu(self.spectral_norm(freq))
        return self.proj(F.silu(gate) * self.fuse(torch.cat([local, freq], dim=-1)))

    def _merged(self, x: torch.Tensor, local: torch.Tensor, freq: torch.Tensor) -> torch.Tensor:
        return x + self._branch(x, local, freq)


class ConvBlock(nn.Module):
    """Ablation: twice (3×3 or 3×3×3 convolution → LayerNorm → SiLU), residual."""

    def __init__(self, dim: int, dropout: float = 0.0, spatial_dims: int = 2) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, spatial_dims]
        layers = [(conv(dim, dim, 3, padding=1), ChannelLayerNorm(dim), nn.SiLU()) for _ in range(2)]
        self.body = nn.Sequential(*(layer for group in layers for layer in group))
        self.dropout = BranchDropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, *spatial, C)`` to ``(B, *spatial, C)``."""
        return x + self.dropout(self.body(x.movedim(-1, 1)).movedim(1, -1))


class AttentionBlock(nn.Module):
    """Ablation: pre-norm self-attention and MLP (ratio 4), residual.

    Attention runs through ``scaled_dot_product_attention``, so that no ``(L, L)`` matrix is built on devices whose
    kernel avoids it. Decision: one head for every 16 channels.
    """

    def __init__(self, dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = max(1, dim // 16)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.dropout = BranchDropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, *spatial, C)`` to ``(B, *spatial, C)``."""
        qkv = self.qkv(self.norm1(x)).flatten(1, -2).unflatten(-1, (3, self.heads, -1))  # (B, L, 3, heads, C/heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, L, C/heads) each
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, L, C)
        x = x + self.dropout(self.proj(attended).reshape(x.shape))
        return x + self.dropout(self.mlp(self.norm2(x)))
