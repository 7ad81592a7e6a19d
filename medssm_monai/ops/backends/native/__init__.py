"""Fused scan for CPUs, forward and backward, compiled by Numba on first use: no ``(B, E, L, N)`` array ever exists.

Vectors run over channels, the state of a tile of tokens stays in registers, exponentials are vectorized; the backward
pass starts from the states between tiles. Threads share samples, groups, channel blocks and, where there are few
channels, parts of the state.

Departures: half precisions are widened before the kernel; gradients of gradients are not provided (the PyTorch
backends have them).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...arguments import ScanArguments
from .operator import scan_forward

__all__ = ["scan"]


def _constant_weights(B: Tensor, C: Tensor, shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor, Tensor | None]:
    """B and C that vary with time, and the product of those that do not: ``sum_n C h`` is linear in both."""
    constants = [x for x in (B, C) if x.dim() == 3]
    coef = None
    if constants:
        coef = constants[0] if len(constants) == 1 else constants[0] * constants[1]
    ones = B.new_ones(1)
    return ones.expand(shape) if B.dim() == 3 else B, ones.expand(shape) if C.dim() == 3 else C, coef


def scan(args: ScanArguments) -> tuple[Tensor, Tensor]:
    """See :data:`~medssm_monai.ops.backends.ScanFunction`."""
    batch, groups, channels, length = args.u.shape
    states = args.A.shape[-1]
    u, delta, A, B, C = (x.float() for x in (args.u, args.delta, args.A, args.B, args.C))
    D, z, bias = (None if x is None else x.float() for x in (args.D, args.z, args.delta_bias))
    B, C, coef = _constant_weights(B, C, (batch, groups, states, length))
    order = None if args.order is None else args.order.to(torch.int32).contiguous()
    wide = ScanArguments(u, delta, A, B, C, D, z, bias, order, args.delta_softplus, args.discretization)
    out, _, last, _ = scan_forward(*wide, coef, args.needs_grad)
    last = last[..., :states, :channels].transpose(-1, -2)
    if args.B.dim() == 3:  # the kernel's state does not know a constant B
        last = last * args.B.float()
    return out.to(args.u.dtype), last
