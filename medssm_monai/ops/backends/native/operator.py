"""The native scan as an operator of ``torch.library``: ``torch.compile`` and ``torch.export`` see one node.

Importing this module registers two operators and nothing more; Numba is imported when one of them first runs or is
traced. An operator takes a flat list: the fields of :class:`~medssm_monai.ops.arguments.ScanArguments`, then ``coef``,
the factor ``(G, E, N)`` of the output of every (channel, state) where B or C is constant in time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...arguments import SCHEMA, ScanArguments

__all__ = ["scan_backward", "scan_forward"]


@torch.library.custom_op(
    "medssm::native_scan",
    mutates_args=(),
    device_types="cpu",
    schema=f"({SCHEMA}, Tensor? coef, bool save) -> (Tensor, Tensor, Tensor, Tensor)",
)
def scan_forward(*flat: Any) -> tuple[Tensor, ...]:
    """Output, and what the backward pass needs; see :func:`~.launch.empty_forward`. What is not there is empty."""
    from .launch import run_forward
    from .positions import checked

    *fields, coef, save = flat
    args = ScanArguments(*fields)
    if args.order is not None:
        checked(args.order)
    return _all_there(*run_forward(args, coef, save))


def _all_there(*results: Tensor | None) -> tuple[Tensor, ...]:
    """An operator returns tensors only."""
    out = results[0]
    assert out is not None
    return tuple(out.new_empty(0) if x is None else x for x in results)


@scan_forward.register_fake
def _(*flat):
    from .launch import empty_forward

    *args, _, save = flat
    return _all_there(*empty_forward(ScanArguments(*args), save))


@torch.library.custom_op(
    "medssm::native_scan_backward",
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor dout, Tensor? dlast, {SCHEMA}, Tensor? coef, Tensor pre, Tensor bounds) -> Tensor[]",
)
def scan_backward(dout: Tensor, dlast: Tensor | None, *flat: Any) -> list[Tensor]:
    """Gradients; see :func:`~.launch.empty_backward`."""
    from .launch import run_backward

    *args, coef, pre, bounds = flat
    return list(run_backward(ScanArguments(*args), coef, dout, dlast, pre, bounds))


@scan_backward.register_fake
def _(dout, dlast, *flat):
    from .launch import empty_backward

    *args, coef, _, _ = flat
    return list(empty_backward(ScanArguments(*args), coef))


def _save(ctx, inputs, output):
    *tensors, ctx.softplus, ctx.discretization, coef, save = inputs
    if not save:
        raise RuntimeError("the native scan was called for inference (save=False) but its gradient is wanted")
    _, pre, _, bounds = output
    ctx.mark_non_differentiable(pre, bounds)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, coef, pre, bounds)


def _gradient(ctx, dout, _dpre, dlast, _dbounds):
    *tensors, coef, pre, bounds = ctx.saved_tensors
    args = ScanArguments(*tensors, ctx.softplus, ctx.discretization)
    if dout is None:
        dout = torch.zeros_like(args.u)
    *grads, dcoef = scan_backward(dout, dlast, *args, coef, pre, bounds)
    grads = [None if x is None else grad for grad, x in zip(grads, args.tensors, strict=True)]
    return *grads, None, None, None, None if coef is None else dcoef, None


scan_forward.register_autograd(_gradient, setup_context=_save)
