"""Depthwise convolution of channel-last maps."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn as nn
import torch.nn.functional as F

from ...ops.depthwise import Neighbors, depthwise
from ...ops.selection import runs_native

__all__ = ["DepthwiseConv2d", "depthwise_conv2d"]


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
        return depthwise_conv2d(x, self.weight, self.bias, activation)


def depthwise_conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, activation: bool = False
) -> torch.Tensor:
    """Depthwise convolution of a map ``(B, H, W, C)`` with filters ``(C, 1, size, size)``, stride 1, zero padding.

    ``activation``: SiLU of the result.
    """
    channels, size = weight.shape[0], weight.shape[-1]
    if runs_native(x, weight, bias):
        neighbors = _window(*x.shape[1:3], size)
        y = depthwise(x.flatten(1, 2), weight.flatten(1)[None], bias[None], neighbors, activation)
        return y.squeeze(2).unflatten(1, x.shape[1:3])
    y = F.conv2d(x.movedim(-1, 1), weight, bias, padding=size // 2, groups=channels).movedim(1, -1)
    return F.silu(y) if activation else y


@lru_cache(maxsize=32)
def _window(height: int, width: int, size: int) -> Neighbors:
    """The ``size * size`` places around each place of a map, row by row."""
    places = torch.arange(height * width).reshape(height, width)
    around = F.pad(places, [size // 2] * 4, value=-1).unfold(0, size, 1).unfold(1, size, 1)  # (H, W, size, size)
    return Neighbors.from_table(around.reshape(1, height * width, size * size))
