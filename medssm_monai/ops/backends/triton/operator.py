"""The Triton scan as an operator of ``torch.library``: ``torch.compile`` and ``torch.export`` see one node.

Importing this module registers two operators and nothing more; Triton is imported when one of them first runs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .launch import empty_backward, empty_forward, run_backward, run_forward
from .records import Call

__all__ = ["scan_backward", "scan_forward"]


@torch.library.custom_op("medssm::triton_scan", mutates_args=())
def scan_forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    order: Tensor | None,
    softplus: bool,
    zoh: bool,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, last state, and what the backward pass needs; see :func:`~.launch.empty_forward`."""
    return run_forward(Call(u, delta, A, B, C, D, z, bias, order, softplus, zoh), save)


@scan_forward.register_fake
def _(u, delta, A, B, C, D, z, bias, order, softplus, zoh, save):
    return empty_forward(u, A, save)


@torch.library.custom_op("medssm::triton_scan_backward", mutates_args=())
def scan_backward(
    dout: Tensor,
    dlast: Tensor | None,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    order: Tensor | None,
    bounds: Tensor,
    softplus: bool,
    zoh: bool,
) -> list[Tensor]:
    """Gradients; see :func:`~.launch.empty_backward`."""
    return run_backward(Call(u, delta, A, B, C, D, z, bias, order, softplus, zoh), dout, dlast, bounds)


@scan_backward.register_fake
def _(dout, dlast, u, delta, A, B, C, D, z, bias, order, bounds, softplus, zoh):
    return empty_backward(Call(u, delta, A, B, C, D, z, bias, order, softplus, zoh))


def _save(ctx, inputs, output):
    *tensors, ctx.softplus, ctx.zoh, save = inputs
    if not save:
        raise RuntimeError("the Triton scan was called for inference (save=False) but its gradient is wanted")
    bounds = output[2]
    ctx.mark_non_differentiable(bounds)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, bounds)
    ctx.given = [isinstance(x, Tensor) for x in tensors[:8]]


def _gradient(ctx, dout, dlast, _dbounds):
    tensors = ctx.saved_tensors
    if dout is None:
        dout = torch.zeros_like(tensors[0])
    grads = scan_backward(dout, dlast, *tensors, ctx.softplus, ctx.zoh)
    return (*(g if given else None for g, given in zip(grads, ctx.given, strict=True)), *[None] * 4)


scan_forward.register_autograd(_gradient, setup_context=_save)
