"""The native scan as PyTorch runs it line by line: the launch itself, with no operator of ``torch.library`` around it.

Such an operator costs more than the scan of a short sequence. It is there for whoever records or transforms operators;
nobody does in plain eager mode.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import record_function

from ...arguments import ScanArguments
from ...first_order import first_order
from .launch import run_backward, run_forward
from .positions import kept_positions

__all__ = ["named", "scan_eagerly"]


def named(name: str) -> Any:
    """Shows a pass to the profiler as the operator would."""
    return record_function(name) if torch.autograd._profiler_enabled() else nullcontext()


def _unpacked(last: Tensor, args: ScanArguments) -> Tensor:
    """The state ``(B, G, E, N)`` in its packed memory: one view where slices and a transpose would be three."""
    batch, groups, rows, columns = last.shape
    size = (batch, groups, *args.A.shape[1:])
    return last.as_strided(size, (groups * rows * columns, rows * columns, 1, columns))


class _Scan(torch.autograd.Function):
    """Takes the fields of :class:`ScanArguments` and ``coef``; returns the output and the last state."""

    @staticmethod
    def forward(ctx: Any, *flat: Any) -> tuple[Tensor, Tensor]:
        *fields, coef = flat
        args = ScanArguments._make(fields)
        with named("medssm::native_scan"):
            out, pre, last, bounds = run_forward(args, coef, save=True)
        ctx.softplus, ctx.discretization = args.delta_softplus, args.discretization
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*args[:9], coef, pre, bounds)
        return out, _unpacked(last, args)

    @staticmethod
    @first_order
    def backward(ctx: Any, dout: Tensor | None, dlast: Tensor | None) -> tuple[Tensor | None, ...]:
        *tensors, coef, pre, bounds = ctx.saved_tensors
        args = ScanArguments._make((*tensors, ctx.softplus, ctx.discretization))
        if dout is None:
            dout = torch.zeros_like(args.u)
        if dlast is not None:
            rows, columns = (whole - part for whole, part in zip(bounds.shape[-2:], dlast.shape[:1:-1], strict=True))
            dlast = F.pad(dlast.transpose(-1, -2), (0, columns, 0, rows))
        with named("medssm::native_scan_backward"):
            *grads, dcoef = run_backward(args, coef, dout, dlast, pre, bounds)
        wanted = ctx.needs_input_grad
        asked = [grad if want else None for grad, want in zip(grads, wanted[:8], strict=True)]
        return *asked, None, None, None, dcoef if wanted[-1] else None


def scan_eagerly(args: ScanArguments, coef: Tensor | None, needs_grad: bool) -> tuple[Tensor, Tensor]:
    """Output and last state ``(B, G, E, N)``."""
    if args.order is not None:
        args = args._replace(order=kept_positions(args.order))
    if needs_grad:
        return _Scan.apply(*args, coef)
    with named("medssm::native_scan"):
        out, _, last, _ = run_forward(args, coef, save=False)
    return out, _unpacked(last, args)
