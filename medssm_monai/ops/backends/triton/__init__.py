"""Fused scan for GPUs in Triton, forward and backward: no ``(B, E, L, N)`` array ever exists.

A program scans a block of channels over tiles of tokens, one state after the other, as an associative scan in
registers; the state is float32 whatever the inputs' precision. All groups run in one launch and are read through the
order table. Where samples and channel blocks are too few for the GPU, L is split: what each span does to the state is
a sum and costs no scan (:mod:`.spans`). The backward pass recomputes states from those kept before each tile; dB and
dC are summed over channel blocks in fixed order, so results are the same from run to run.

Tested through Triton's interpreter (``TRITON_INTERPRET=1``), and compiled to machine code for compute capabilities 8.0
and 9.0; its speed on a GPU has not been measured, and the tile sizes in :mod:`.launch` are estimates.

Departures: outputs and gradients are channel-first whatever the layout of ``u``; gradients of gradients are not
provided (the PyTorch backends have them).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .operator import scan_forward

__all__ = ["scan"]


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
    A, D, delta_bias = (None if x is None else x.contiguous() for x in (A, D, delta_bias))
    if order is not None:
        order = order.to(torch.int32).contiguous()
    zoh = discretization == "zoh"
    out, last, _ = scan_forward(u, delta, A, B, C, D, z, delta_bias, order, delta_softplus, zoh, save)
    return out, last
