"""From the image to the first map by convolutions that overlap, in place of patches that do not."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn as nn
from monai.networks.blocks import Convolution
from monai.networks.layers import Conv

from ...ops.tokenwise import tokenwise

__all__ = ["ConvStem"]


class ConvStem(nn.Module):
    """Convolutions 3×3 of stride 2, each with batch normalization and ReLU → 1×1 → LayerNorm; output channel-last.

    It takes the place of :class:`~medssm_monai.networks.blocks.PatchEmbed` and gives a map of the same shape: each
    convolution halves the image, until a place stands for ``patch_size`` pixels a side. The last of them has ``dim``
    channels, those before it a half, a quarter, ... of that.

    Args:
        in_channels: channels of the image.
        dim: channels ``C`` of the map.
        patch_size: 2, 4, 8, 16, ...: pixels a side of a place.
        spatial_dims: 2 or 3.

    Raises:
        ValueError: another ``patch_size``, or fewer than one channel in the first convolution.

    Source: Xiao, Singh, Mintun, Darrell, Dollár, Girshick, "Early Convolutions Help Transformers See Better" (NeurIPS
    2021, arXiv 2106.14881), section 4. Decision: a LayerNorm follows, as after the patch embedding, so that the blocks
    start with maps of the same size whichever comes before them.
    """

    def __init__(self, in_channels: int, dim: int, patch_size: int = 4, spatial_dims: int = 2) -> None:
        super().__init__()
        halvings = patch_size.bit_length() - 1
        if halvings < 1 or patch_size != 2**halvings:
            raise ValueError(
                "stem='conv' halves the image again and again, so that patch_size must be 2, 4, 8, 16 or a further "
                f"power of 2, got {patch_size}; choose such a patch_size, or stem='patch'."
            )
        if dim < 2 ** (halvings - 1):
            raise ValueError(
                f"stem='conv' with patch_size={patch_size} needs an embed_dim of at least {2 ** (halvings - 1)}, "
                f"got {dim}."
            )
        self.spatial_dims = spatial_dims
        widths = [in_channels, *(dim >> step for step in reversed(range(halvings)))]
        self.convs = nn.Sequential(
            *(
                Convolution(spatial_dims, *pair, strides=2, adn_ordering="NA", act="RELU", norm="BATCH", bias=False)
                for pair in pairwise(widths)
            )
        )
        self.proj = Conv[Conv.CONV, spatial_dims](dim, dim, 1)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, in_channels, *spatial)`` to ``(B, *spatial/patch, dim)``; every size is a multiple of the patch."""
        return tokenwise(self._normalized, self.proj(self.convs(x)).movedim(1, -1), spatial_dims=self.spatial_dims)

    def _normalized(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)
