"""The Triton scan as an operator of ``torch.library``: ``torch.compile`` and ``torch.export`` see one node.

Importing this module registers two operators and nothing more; Triton is imported when one of them first runs. An
operator takes a flat list: the fields of :class:`~medssm_monai.ops.arguments.ScanArguments`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...arguments import SCHEMA, ScanArguments
from .launch import empty_backward, empty_forward, run_backward, run_forward

__all__ = ["scan_backward", "scan_forward"]


@torch.library.custom_op(
    "medssm::triton_scan", mutates_args=(), schema=f"({SCHEMA}, bool save) -> (Tensor, Tensor, Tensor)"
)
def scan_forward(*flat: Any) -> tuple[Tensor, ...]:
    """Output, last state, and what the backward pass needs; see :func:`~.launch.empty_forward`."""
    *args, save = flat
    return run_forward(ScanArguments(*args), save)


@scan_forward.register_fake
def _(*flat):
    *args, save = flat
    return empty_forward(ScanArguments(*args), save)


@torch.library.custom_op(
    "medssm::triton_scan_backward",
    mutates_args=(),
    schema=f"(Tensor dout, Tensor? dlast, {SCHEMA}, Tensor bounds) -> Tensor[]",
)
def scan_backward(dout: Tensor, dlast: Tensor | None, *flat: Any) -> list[Tensor]:
    """Gradients; see :func:`~.launch.empty_backward`."""
    *args, bounds = flat
    return run_backward(ScanArguments(*args), dout, dlast, bounds)


@scan_backward.register_fake
def _(dout, dlast, *flat):
    *args, _ = flat
    return empty_backward(ScanArguments(*args))


def _save(ctx, inputs, output):
    *tensors, ctx.softplus, ctx.discretization, save = inputs
    if not save:
        raise RuntimeError("the Triton scan was called for inference (save=False) but its gradient is wanted")
    bounds = output[2]
    ctx.mark_non_differentiable(bounds)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, bounds)


def _gradient(ctx, dout, dlast, _dbounds):
    *tensors, bounds = ctx.saved_tensors
    args = ScanArguments(*tensors, ctx.softplus, ctx.discretization)
    if dout is None:
        dout = torch.zeros_like(args.u)
    grads = scan_backward(dout, dlast, *args, bounds)
    return *(None if x is None else grad for grad, x in zip(grads, args.tensors, strict=True)), *[None] * 4


scan_forward.register_autograd(_gradient, setup_context=_save)
