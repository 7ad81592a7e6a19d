"""Changing the resolution of channel-last maps: patch embedding (2D, 3D), merging and expansion (2D)."""

from __future__ import annotations

import torch
import torch.nn as nn
from monai.networks.layers import Conv

from ...ops.tokenwise import tokenwise

__all__ = ["PatchEmbed", "PatchExpand", "PatchMerge"]


class PatchEmbed(nn.Module):
    """Convolution with kernel and stride ``patch_size`` → LayerNorm; output is channel-last, in 2D or 3D."""

    def __init__(self, in_channels: int, dim: int, patch_size: int = 4, spatial_dims: int = 2) -> None:
        super().__init__()
        self.proj = Conv[Conv.CONV, spatial_dims](in_channels, dim, patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, in_channels, *spatial)`` to ``(B, *spatial/patch, dim)``."""
        return tokenwise(self._normalized, self.proj(x).movedim(1, -1))

    def _normalized(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)


class PatchMerge(nn.Module):
    """Halve the resolution: 2×2 neighbors concatenated (4C) → LayerNorm → Linear without bias to 2C."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, H, W, C)`` to ``(B, H/2, W/2, 2C)``; ``H`` and ``W`` are even."""
        b, h, w, c = x.shape
        x = x.reshape(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5)  # (B, H/2, W/2, 2, 2, C)
        return tokenwise(self._reduced, x)

    def _reduced(self, x: torch.Tensor) -> torch.Tensor:
        return self.reduction(self.norm(x.flatten(-3)))


class PatchExpand(nn.Module):
    """Raise the resolution: Linear without bias → pixel shuffle → LayerNorm."""

    def __init__(self, dim: int, out_dim: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.expand = nn.Linear(dim, scale * scale * out_dim, bias=False)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, H, W, dim)`` to ``(B, scale·H, scale·W, out_dim)``."""
        x = tokenwise(self._expanded, x, memory=((0, 1, 3, 2, 4, 5),))  # (B, H, W, scale, scale, C)
        return x.transpose(2, 3).flatten(1, 2).flatten(2, 3)

    def _expanded(self, x: torch.Tensor) -> torch.Tensor:
        """A token's new tokens, in the order of channels of ``torch.nn.functional.pixel_shuffle``."""
        x = self.expand(x).unflatten(-1, (-1, self.scale, self.scale))
        return self.norm(x.movedim(-3, -1))
