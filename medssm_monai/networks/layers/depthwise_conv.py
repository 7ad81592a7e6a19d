"""Depthwise convolution of channel-last maps, in 2D and 3D."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn as nn
import torch.nn.functional as F

from ...ops.depthwise import Neighbors, depthwise
from ...ops.selection import runs_native

__all__ = ["DEPTHWISE_CONV", "DepthwiseConv2d", "DepthwiseConv3d", "convolve_depthwise"]

LARGEST_TABLE = 2**23
"""Neighbors that the fused operator is given at most, 4 bytes each and twice: those of 64×64×64 places with 27. Larger
maps go to PyTorch's convolution."""


class DepthwiseConv2d(nn.Conv2d):
    """``torch.nn.Conv2d`` with one filter a channel, stride 1 and zero padding, on maps ``(B, H, W, C)``.

    Names and shapes of the parameters are those of ``torch.nn.Conv2d``. In float32 on the CPU convolution and
    activation are one fused operator.

    Args:
        channels: ``C``.
        kernel_size: side of the filters, odd.
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)

    def forward(self, x: torch.Tensor, activation: bool = False) -> torch.Tensor:
        """``(B, H, W, C)`` to the same shape; ``activation``: SiLU of the result."""
        assert self.bias is not None
        return convolve_depthwise(x, self.weight, self.bias, activation)


class DepthwiseConv3d(nn.Conv3d):
    """:class:`DepthwiseConv2d` on maps ``(B, X, Y, Z, C)``, with names and shapes of ``torch.nn.Conv3d``."""

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)

    def forward(self, x: torch.Tensor, activation: bool = False) -> torch.Tensor:
        """``(B, X, Y, Z, C)`` to the same shape; ``activation``: SiLU of the result."""
        assert self.bias is not None
        return convolve_depthwise(x, self.weight, self.bias, activation)


DEPTHWISE_CONV: dict[int, type[DepthwiseConv2d] | type[DepthwiseConv3d]] = {2: DepthwiseConv2d, 3: DepthwiseConv3d}
"""The layer for 2 and for 3 spatial axes."""


def convolve_depthwise(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, activation: bool = False
) -> torch.Tensor:
    """Depthwise convolution of a map ``(B, *spatial, C)``, stride 1, zero padding.

    Args:
        x: the map, with two or three spatial axes.
        weight: filters ``(C, 1, size, size)`` or ``(C, 1, size, size, size)``.
        bias: ``(C,)``.
        activation: SiLU of the result.
    """
    channels, size, spatial = weight.shape[0], weight.shape[-1], tuple(x.shape[1:-1])
    taps = math.prod(weight.shape[2:])
    if math.prod(spatial) * taps <= LARGEST_TABLE and runs_native(x, weight, bias):
        y = depthwise(x.flatten(1, -2), weight.flatten(1)[None], bias[None], _window(spatial, size), activation)
        return y.squeeze(2).unflatten(1, spatial)
    conv = F.conv2d if len(spatial) == 2 else F.conv3d
    y = conv(x.movedim(-1, 1), weight, bias, padding=size // 2, groups=channels).movedim(1, -1)
    return F.silu(y) if activation else y


@lru_cache(maxsize=32)
def _window(spatial: Sequence[int], size: int) -> Neighbors:
    """The ``size * size (* size)`` places around each place of a map, row by row."""
    places, axes = torch.arange(math.prod(spatial)).reshape(*spatial), len(spatial)
    around = F.pad(places, [size // 2] * (2 * axes), value=-1)
    for axis in range(axes):
        around = around.unfold(axis, size, 1)  # (*spatial, size, ...)
    return Neighbors.from_table(around.reshape(1, places.numel(), size**axes))
