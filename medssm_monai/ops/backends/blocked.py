"""Pure PyTorch scan for any device and for exporters: out of place, no custom autograd function.

The sequence is cut into ``K`` blocks of ``S ~ sqrt(L)`` tokens that advance side by side. A first pass finds the
state that each block adds, a short loop over blocks chains them, a second pass starts every block from its true
state: about ``2 S + K`` dependent steps instead of ``L``, on tensors of ``B E N K`` numbers. All factors are
``exp(delta A)``, never a ratio of two of them, so nothing overflows.

When gradients are wanted, long sequences go segment by segment through activation checkpointing: what is kept for the
backward pass grows with ``B E L`` and one segment, not with ``B E N L``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..arguments import ScanArguments
from ..tracing import is_capturing
from .torch_steps import advance, finish, prepare

__all__ = ["scan"]

SEGMENT = 1024  # tokens recomputed together in the backward pass


def _segment(
    x: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, h0: Tensor, discretization: str
) -> tuple[Tensor, Tensor]:
    """Scan ``(B, G, E, L)`` from the state ``h0 (B, G, E, N)``; returns outputs ``(B, G, E, L)`` and the last state."""
    length = x.shape[-1]
    size = max(1, math.isqrt(length))
    count = -(-length // size)
    pad = count * size - length  # padded steps have delta = 0: the state passes through unchanged

    def blocks(v: Tensor) -> list[Tensor]:
        if v.shape[-1] == 1 and length > 1:  # constant in time
            return [v] * size
        return list(F.pad(v, (0, pad)).unflatten(-1, (count, size)).unbind(-1))

    xs, steps, Bs, Cs = blocks(x), blocks(step), blocks(B), blocks(C)
    inputs = [b * v[..., None, :] for b, v in zip(Bs, xs, strict=True)]  # (B, G, E, N, K) each

    starts = [h0]
    if count > 1:
        own = torch.zeros_like(inputs[0])
        for s in range(size):
            own = advance(own, steps[s], A, inputs[s], discretization)
        total = F.pad(step, (0, pad)).unflatten(-1, (count, size)).sum(-1)  # (B, G, E, K)
        decay = torch.exp(total[..., None, :] * A[..., None])
        for k in range(count - 1):
            starts.append(decay[..., k] * starts[-1] + own[..., k])
    h = torch.stack(starts, -1)  # (B, G, E, N, K)

    outputs = []
    for s in range(size):
        h = advance(h, steps[s], A, inputs[s], discretization)
        outputs.append((h * Cs[s]).sum(-2))  # (B, G, E, K)
    y = torch.stack(outputs, -1).flatten(-2)  # (B, G, E, K S)
    return y[..., :length], h[..., -1]


def scan(args: ScanArguments) -> tuple[Tensor, Tensor]:
    """See :data:`~medssm_monai.ops.backends.ScanFunction`."""
    x, step, A, B, C = prepare(args)
    length = x.shape[-1]
    h = x.new_zeros(*x.shape[:-1], A.shape[-1])
    recompute = torch.is_grad_enabled() and not is_capturing() and length > SEGMENT
    if not recompute:
        y, h = _segment(x, step, A, B, C, h, args.discretization)
        return finish(y, args), h

    outputs = []
    for begin in range(0, length, SEGMENT):
        tokens = slice(begin, begin + SEGMENT)
        B_part, C_part = (v if v.shape[-1] == 1 else v[..., tokens] for v in (B, C))
        parts = (x[..., tokens], step[..., tokens], A, B_part, C_part)
        y, h = checkpoint(_segment, *parts, h, args.discretization, use_reentrant=False)
        outputs.append(y)
    return finish(torch.cat(outputs, -1), args), h
