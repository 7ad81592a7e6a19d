"""The depthwise convolution over named neighbors as a differentiable function."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..first_order import first_order

__all__ = ["Neighbors", "depthwise"]


class Neighbors(NamedTuple):
    """Which places each place sees, ``(G, L, K)``, and which places see it through the same weights; -1: none."""

    seen: Tensor
    seeing: Tensor

    @classmethod
    def from_table(cls, seen: Tensor) -> Neighbors:
        """``seen``: integers ``(G, L, K)``; no place sees another twice through one weight.

        Raises:
            ValueError: a place beyond the ``L`` that there are.
        """
        groups, length, taps = seen.shape
        if int(seen.max()) >= length:  # the kernels address memory with these numbers
            raise ValueError(f"neighbors must be places below {length}, got {int(seen.max())}")
        seeing = torch.full((groups, length + 1, taps), -1, dtype=torch.int32)  # the last row takes what is left out
        places = torch.arange(length, dtype=torch.int32)[None, :, None].expand(groups, length, taps)
        seeing.scatter_(1, torch.where(seen < 0, length, seen).long(), places)
        return cls(seen.to(torch.int32).contiguous(), seeing[:, :length].contiguous())


def depthwise(x: Tensor, weight: Tensor, bias: Tensor, neighbors: Neighbors, activation: bool = False) -> Tensor:
    """Depthwise convolution of tokens over the neighbors that a table names, with ``G`` sets of filters.

    Args:
        x: tokens ``(B, L, C)``, float32 on the CPU.
        weight: ``(G, C, K)``.
        bias: ``(G, C)``.
        neighbors: tables ``(G, L, K)``.
        activation: SiLU of the result.

    Returns:
        ``(B, L, G, C)``, in memory group by group.

    Raises:
        ValueError: shapes that do not fit.
    """
    if weight.shape[1] != x.shape[2] or bias.shape != weight.shape[:2] or weight.shape[2] != neighbors.seen.shape[2]:
        raise ValueError(
            f"x {tuple(x.shape)} of C channels needs weights (G, C, K) and biases (G, C), K neighbors each, "
            f"got {tuple(weight.shape)}, {tuple(bias.shape)} and {neighbors.seen.shape[2]} neighbors"
        )
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad or bias.requires_grad):
        return _Depthwise.apply(x, weight, bias, neighbors, activation)
    return _forward(_dense(x), weight, bias, neighbors, activation)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, neighbors: Neighbors, activation: bool) -> Tensor:
        x = _dense(x)
        ctx.save_for_backward(x, weight, bias)
        ctx.neighbors, ctx.activation = neighbors, activation
        return _forward(x, weight, bias, neighbors, activation)

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        from .launch import run, weight_gradients

        x, weight, bias = ctx.saved_tensors
        inner = _empty(x.shape[0], x.shape[1], weight.shape[0], x.shape[2])
        tensors = {"x": x, "grad": _dense(gradient), "pre": inner}
        dweight, dbias = weight_gradients(tensors, ctx.neighbors.seen, weight, bias, ctx.activation)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = torch.empty(x.shape, dtype=torch.float32)
            run("outer", {"out": dx, "pre": inner}, ctx.neighbors.seeing, weight, bias)
        return dx, dweight, dbias, None, None


def _forward(x: Tensor, weight: Tensor, bias: Tensor, neighbors: Neighbors, activation: bool) -> Tensor:
    from .launch import run

    out = _empty(x.shape[0], x.shape[1], weight.shape[0], x.shape[2])
    run("forward", {"x": x, "out": out}, neighbors.seen, weight, bias, activation)
    return out


def _dense(x: Tensor) -> Tensor:
    """``x`` with channels side by side."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def _empty(batch: int, length: int, groups: int, channels: int) -> Tensor:
    return torch.empty(groups, batch, length, channels, dtype=torch.float32).permute(1, 2, 0, 3)
