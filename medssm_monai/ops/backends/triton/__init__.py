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

from ...arguments import ScanArguments
from .operator import scan_forward

__all__ = ["scan"]


def scan(args: ScanArguments) -> tuple[Tensor, Tensor]:
    """See :data:`~medssm_monai.ops.backends.ScanFunction`."""
    A = args.A.contiguous()
    D, bias = (None if x is None else x.contiguous() for x in (args.D, args.delta_bias))
    order = None if args.order is None else args.order.to(torch.int32).contiguous()
    dense = args._replace(A=A, D=D, delta_bias=bias, order=order)
    out, last, _ = scan_forward(*dense, args.needs_grad)
    return out, last
