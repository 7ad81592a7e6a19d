"""Fused scan for CPUs, forward and backward, compiled by Numba on first use: no ``(B, E, L, N)`` array ever exists.

Vectors run over channels, the state of a tile of tokens stays in registers, exponentials are vectorized; the backward
pass starts from the states between tiles. Threads share samples, groups, channel blocks and, where there are few
channels, parts of the state.

Departures: half precisions are widened before the kernel; gradients of gradients are not provided (the PyTorch
backends have them).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...arguments import ScanArguments
from ...tracing import is_eager
from .operator import scan_forward

__all__ = ["scan"]


def _constant_weights(B: Tensor, C: Tensor, shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor, Tensor | None]:
    """B and C that vary with time, and the product of those that do not: ``sum_n C h`` is linear in both."""
    constants = [x for x in (B, C) if x.dim() == 3]
    coef = None
    if constants:
        coef = constants[0] if len(constants) == 1 else constants[0] * constants[1]
        ones = coef.new_ones(1).expand(shape)
        B, C = (ones if x.dim() == 3 else x for x in (B, C))
    return B, C, coef


def _widened(x: Any) -> Any:
    return None if x is None else x.resolve_neg().float()


def scan(args: ScanArguments) -> tuple[Tensor, Tensor]:
    """See :data:`~medssm_monai.ops.backends.ScanFunction`."""
    batch, groups, channels, length = args.u.shape
    states = args.A.shape[-1]
    eager, wide = is_eager(*args[:9]), args
    if not eager or any([x is not None and x.dtype is not torch.float32 for x in args.tensors]):
        wide = ScanArguments._make((*map(_widened, args.tensors), *args[8:]))
    B, C, coef = _constant_weights(wide.B, wide.C, (batch, groups, states, length))
    if coef is not None:
        wide = wide._replace(B=B, C=C)
    if eager:
        from .eager import scan_eagerly

        out, last = scan_eagerly(wide, coef, args.needs_grad)
    else:
        if args.order is not None:
            wide = wide._replace(order=args.order.to(torch.int32).contiguous())
        out, _, packed, _ = scan_forward(*wide, coef, args.needs_grad)
        last = packed[..., :states, :channels].transpose(-1, -2)
    if args.B.dim() == 3:  # the kernel's state does not know a constant B
        last = last * args.B.float()
    return out if out.dtype == args.u.dtype else out.to(args.u.dtype), last
