"""Changing the resolution of channel-last 2D maps: patch embedding, merging and expansion."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

__all__ = ["PatchEmbed", "PatchExpand", "PatchMerge"]


class PatchEmbed(nn.Module):
    """``Conv2d(in_channels, dim, patch_size, stride=patch_size)`` → LayerNorm; output is channel-last."""

    def __init__(self, in_channels: int, dim: int, patch_size: int = 4) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, in_channels, H, W)`` to ``(B, H/patch, W/patch, dim)``."""
        return self.norm(self.proj(x).movedim(1, -1))


class PatchMerge(nn.Module):
    """Halve the resolution: 2×2 neighbours concatenated (4C) → LayerNorm → Linear without bias to 2C."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, H, W, C)`` to ``(B, H/2, W/2, 2C)``; ``H`` and ``W`` are even."""
        b, h, w, c = x.shape
        x = x.reshape(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).flatten(3)  # (B, H/2, W/2, 4C)
        return self.reduction(self.norm(x))


class PatchExpand(nn.Module):
    """Raise the resolution: Linear without bias → pixel shuffle → LayerNorm."""

    def __init__(self, dim: int, out_dim: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.expand = nn.Linear(dim, scale * scale * out_dim, bias=False)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, H, W, dim)`` to ``(B, scale·H, scale·W, out_dim)``."""
        x = F.pixel_shuffle(self.expand(x).movedim(-1, 1), self.scale)
        return self.norm(x.movedim(1, -1))
