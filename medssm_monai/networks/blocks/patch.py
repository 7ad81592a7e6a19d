"""Changing the resolution of channel-last maps in 2D and 3D: patch embedding, merging and expansion."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
from monai.networks.layers import Conv
from monai.utils import ensure_tuple_rep

from ...ops.tokenwise import tokenwise

__all__ = ["PatchEmbed", "PatchExpand", "PatchMerge"]


class PatchEmbed(nn.Module):
    """Convolution with kernel and stride ``patch_size``, a number or one per axis → LayerNorm; output channel-last."""

    def __init__(self, in_channels: int, dim: int, patch_size: Sequence[int] | int = 4, spatial_dims: int = 2) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        self.proj = Conv[Conv.CONV, spatial_dims](in_channels, dim, patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, in_channels, *spatial)`` to ``(B, *spatial/patch, dim)``."""
        return tokenwise(self._normalized, self.proj(x).movedim(1, -1), spatial_dims=self.spatial_dims)

    def _normalized(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)


class PatchMerge(nn.Module):
    """Lower the resolution: neighbors concatenated → LayerNorm → Linear without bias to 2C.

    Halving both axes of a map joins 2×2 neighbors (4C channels); decision: 2×2×2 (8C) in 3D, with 2C channels after it
    as well.

    Args:
        dim: channels ``C``.
        scale: by how much, one number or one per axis; 1 leaves an axis as it is.
        spatial_dims: 2 or 3.
    """

    def __init__(self, dim: int, scale: Sequence[int] | int = 2, spatial_dims: int = 2) -> None:
        super().__init__()
        self.scale = ensure_tuple_rep(scale, spatial_dims)
        joined = math.prod(self.scale) * dim
        self.norm = nn.LayerNorm(joined)
        self.reduction = nn.Linear(joined, 2 * dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, *spatial, C)`` to ``(B, *spatial/scale, 2C)``; every size is a multiple of its scale."""
        dims = len(self.scale)
        split = [part for size, s in zip(x.shape[1:-1], self.scale, strict=True) for part in (size // s, s)]
        coarse, fine = range(1, 2 * dims, 2), range(2, 2 * dims + 1, 2)
        x = x.reshape(x.shape[0], *split, x.shape[-1]).permute(0, *coarse, *fine, -1)  # (B, *spatial/s, *scale, C)
        return tokenwise(self._reduced, x, spatial_dims=dims)

    def _reduced(self, x: torch.Tensor) -> torch.Tensor:
        return self.reduction(self.norm(x.flatten(-1 - len(self.scale))))


class PatchExpand(nn.Module):
    """Raise the resolution: Linear without bias → pixel shuffle → LayerNorm.

    Args:
        dim: channels before.
        out_dim: channels after it.
        scale: by how much, one number or one per axis; 1 leaves an axis as it is.
        spatial_dims: 2 or 3.
    """

    def __init__(self, dim: int, out_dim: int, scale: Sequence[int] | int, spatial_dims: int = 2) -> None:
        super().__init__()
        self.scale = ensure_tuple_rep(scale, spatial_dims)
        self.expand = nn.Linear(dim, math.prod(self.scale) * out_dim, bias=False)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, *spatial, dim)`` to ``(B, *(scale · spatial), out_dim)``."""
        dims = len(self.scale)
        pairs = [axis for i in range(1, dims + 1) for axis in (i, i + dims)]  # a place, and its new places
        memory = (0, *pairs, 2 * dims + 1)
        x = tokenwise(self._expanded, x, memory=(memory,), spatial_dims=dims).permute(memory)
        for axis in range(1, dims + 1):  # (B, H, scale, W, scale, C) to (B, scale·H, scale·W, C)
            x = x.flatten(axis, axis + 1)
        return x

    def _expanded(self, x: torch.Tensor) -> torch.Tensor:
        """A token's new tokens, in the order of channels of ``torch.nn.functional.pixel_shuffle``."""
        x = self.expand(x).unflatten(-1, (-1, *self.scale))
        return self.norm(x.movedim(-1 - len(self.scale), -1))
