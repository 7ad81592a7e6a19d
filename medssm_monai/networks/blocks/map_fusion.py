"""From a map to one vector: the ways of MedConvMamba to fuse its tokens before the classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
from monai.networks.layers import Conv

__all__ = ["FUSIONS", "MapFusion"]

FUSIONS = ("gap", "flatten", "conv", "dwconv")


class MapFusion(nn.Module):
    """Fuse the tokens of a channel-last map into one vector of ``out_features`` entries.

    ``"gap"`` averages over the map and takes any size; ``"flatten"`` puts all tokens in a row; ``"conv"`` and
    ``"dwconv"`` (depthwise) are a convolution with a kernel as large as the map. The last three hold for ``map_size``.

    Args:
        dim: channels ``C``.
        map_size: spatial size of the map.
        fusion: one of :data:`FUSIONS`.

    Raises:
        ValueError: when ``fusion`` is none of them.

    Source: MedConvMamba, section III and table V. Decision: the text gives the convolutions a 3×3 kernel followed by
    averaging; the parameter counts of its table fit only a kernel as large as the map, without padding.
    """

    def __init__(self, dim: int, map_size: Sequence[int], fusion: str = "gap") -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"fusion must be one of {FUSIONS}, got {fusion!r}.")
        self.fusion, self.out_features = fusion, dim
        if fusion == "flatten":
            self.out_features = dim * math.prod(map_size)
        if fusion in ("conv", "dwconv"):
            groups = dim if fusion == "dwconv" else 1
            self.conv = Conv[Conv.CONV, len(map_size)](dim, dim, tuple(map_size), groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, *spatial, C)`` to ``(B, out_features)``."""
        if self.fusion == "gap":
            return x.flatten(1, -2).mean(1)
        if self.fusion == "flatten":
            return x.flatten(1)
        return self.conv(x.movedim(-1, 1)).flatten(1)
