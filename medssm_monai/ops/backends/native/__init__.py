"""Fused scan for CPUs, forward and backward, compiled by Numba on first use: no ``(B, E, L, N)`` array ever exists.

Vectors run over channels, the state of a tile of tokens stays in registers, exponentials are vectorised; the backward
pass starts from the states between tiles. Threads share samples, groups, channel blocks and, where there are few
channels, parts of the state.

Departures: half precisions are widened before the kernel; gradients of gradients are not provided (the PyTorch
backends have them).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .library import scan_forward

__all__ = ["scan"]


def _constant_weights(B: Tensor, C: Tensor, shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor, Tensor | None]:
    """B and C that vary with time, and the product of those that do not: ``sum_n C h`` is linear in both."""
    constants = [x for x in (B, C) if x.dim() == 3]
    coef = None
    if constants:
        coef = constants[0] if len(constants) == 1 else constants[0] * constants[1]
    ones = B.new_ones(1)
    return tuple(ones.expand(shape) if x.dim() == 3 else x for x in (B, C)) + (coef,)


def scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    order: Tensor | None,
    delta_softplus: bool,
    discretization: str,
) -> tuple[Tensor, Tensor]:
    """See :data:`~medssm_monai.ops.backends.ScanFunction`."""
    given = (u, delta, A, B, C, D, z, delta_bias)
    save = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in given)
    u_, delta_, A_, B_, C_, D_, z_, bias = (None if x is None else x.float() for x in given)
    batch, groups, channels, length = u.shape
    states = A.shape[-1]
    B_, C_, coef = _constant_weights(B_, C_, (batch, groups, states, length))
    if order is not None:
        order = order.to(torch.int32).contiguous()
    zoh = discretization == "zoh"
    out, _, last, _ = scan_forward(u_, delta_, A_, B_, C_, D_, z_, bias, coef, order, delta_softplus, zoh, save)
    last = last[..., :states, :channels].transpose(-1, -2)
    if B.dim() == 3:  # the kernel's state does not know a constant B
        last = last * B.float()
    return out.to(u.dtype), last
