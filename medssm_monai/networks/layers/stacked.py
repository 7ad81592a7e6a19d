"""Layers with one weight per scan direction, stacked along a leading axis (no such axis for a single direction)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn as nn
import torch.nn.functional as F

from ...ops.depthwise import Neighbors, depthwise
from ...ops.selection import runs_native
from .scan_order import ScanOrder, to_maps, to_token_groups, visiting_table

__all__ = ["StackedConv1d", "StackedLinear"]


def _uniform(shape: tuple[int, ...], fan_in: int) -> nn.Parameter:
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


class StackedLinear(nn.Module):
    """``groups`` linear layers as one parameter.

    ``weight`` has shape ``(groups, out_features, in_features)`` and ``bias`` ``(groups, out_features)``; with one
    group the leading axis is absent, so that names and shapes are those of ``torch.nn.Linear``. Initial values are
    those of ``torch.nn.Linear`` as well.
    """

    def __init__(self, groups: int, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.groups, self.in_features, self.out_features = groups, in_features, out_features
        lead = () if groups == 1 else (groups,)
        self.weight = _uniform((*lead, out_features, in_features), in_features)
        self.bias: nn.Parameter | None
        self.register_parameter("bias", _uniform((*lead, out_features), in_features) if bias else None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Every group its own input: ``(..., G, in_features)`` to ``(..., G, out_features)``."""
        if self.groups == 1:
            return F.linear(x, self.weight, self.bias)
        out = torch.einsum("...gi,goi->...go", x, self.weight)
        return out if self.bias is None else out + self.bias

    def shared(self, x: torch.Tensor) -> torch.Tensor:
        """All groups the same input, in one product: ``(..., in_features)`` to ``(..., G, out_features)``."""
        bias = None if self.bias is None else self.bias.view(-1)
        out = F.linear(x, self.weight.view(-1, self.in_features), bias)
        return out.unflatten(-1, (self.groups, self.out_features))

    def extra_repr(self) -> str:
        return f"groups={self.groups}, {self.in_features} -> {self.out_features}, bias={self.bias is not None}"


class StackedConv1d(nn.Module):
    """Causal depthwise convolution along the tokens, one set of filters per direction.

    ``weight`` has shape ``(groups, channels, 1, kernel_size)``, without the leading axis for one group, where names
    and shapes are those of the depthwise ``torch.nn.Conv1d`` in the published Mamba block.
    """

    def __init__(self, groups: int, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.groups, self.channels, self.kernel_size = groups, channels, kernel_size
        lead = () if groups == 1 else (groups,)
        self.weight = _uniform((*lead, channels, 1, kernel_size), kernel_size)
        self.bias = _uniform((*lead, channels), kernel_size)

    def forward(self, x: torch.Tensor, orders: Sequence[ScanOrder], activation: bool = False) -> torch.Tensor:
        """Maps ``(B, *spatial, C)`` to tokens ``(B, L, G, C)``, places in row-major order.

        In each order a token sees itself and the ``kernel_size - 1`` tokens before it. ``activation``: SiLU of the
        result. In float32 on the CPU this is one fused operator.
        """
        orders, spatial = tuple(orders), tuple(x.shape[1:-1])
        if runs_native(x, self.weight, self.bias):
            weight = self.weight.reshape(self.groups, self.channels, self.kernel_size)
            bias = self.bias.reshape(self.groups, self.channels)
            return depthwise(x.flatten(1, -2), weight, bias, _before(orders, spatial, self.kernel_size), activation)
        width = self.groups * self.channels
        shared = x.unsqueeze(-2).expand(*x.shape[:-1], self.groups, x.shape[-1])
        tokens = to_token_groups(shared, orders).flatten(2).transpose(1, 2)  # (B, G*C, L)
        weight = self.weight.reshape(width, 1, self.kernel_size)
        out = F.conv1d(F.pad(tokens, (self.kernel_size - 1, 0)), weight, self.bias.reshape(width), groups=width)
        out = out.transpose(1, 2).unflatten(-1, (self.groups, self.channels))  # (B, L, G, C)
        out = to_maps(out, orders, spatial).flatten(1, -3)
        return F.silu(out) if activation else out

    def extra_repr(self) -> str:
        return f"groups={self.groups}, channels={self.channels}, kernel_size={self.kernel_size}"


@lru_cache(maxsize=32)
def _before(orders: tuple[ScanOrder, ...], spatial: tuple[int, ...], size: int) -> Neighbors:
    """For each order and place the last ``size`` places visited, itself the last of them."""
    visited = visiting_table(orders, spatial, torch.device("cpu"))  # (G, L)
    windows = F.pad(visited, (size - 1, 0), value=-1).unfold(1, size, 1)  # (G, L, size), in the order of the steps
    by_place = torch.empty_like(windows).scatter_(1, visited[..., None].expand(windows.shape), windows)
    return Neighbors.from_table(by_place)
