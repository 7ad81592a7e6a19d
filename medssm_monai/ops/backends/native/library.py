"""The native scan as an operator of ``torch.library``: ``torch.compile`` and ``torch.export`` see one node.

Importing this module registers two operators and nothing more; Numba is imported when one of them first runs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .outputs import Inputs, empty_backward, empty_forward

__all__ = ["scan_backward", "scan_forward"]


@torch.library.custom_op("medssm::native_scan", mutates_args=(), device_types="cpu")
def scan_forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    coef: Tensor | None,
    order: Tensor | None,
    softplus: bool,
    zoh: bool,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output, and what the backward pass needs; see :func:`~.outputs.empty_forward`."""
    from .launch import run_forward

    flags = {"softplus": int(softplus), "zoh": int(zoh)}
    return run_forward(Inputs(u, delta, A, B, C, D, z, bias, coef, order), flags, save)


@scan_forward.register_fake
def _(u, delta, A, B, C, D, z, bias, coef, order, softplus, zoh, save):
    return empty_forward(Inputs(u, delta, A, B, C, D, z, bias, coef, order), save)


@torch.library.custom_op("medssm::native_scan_backward", mutates_args=(), device_types="cpu")
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
    coef: Tensor | None,
    order: Tensor | None,
    pre: Tensor,
    bounds: Tensor,
    softplus: bool,
    zoh: bool,
) -> list[Tensor]:
    """Gradients; see :func:`~.outputs.empty_backward`."""
    from .launch_backward import run_backward

    flags = {"softplus": int(softplus), "zoh": int(zoh)}
    x = Inputs(u, delta, A, B, C, D, z, bias, coef, order)
    return list(run_backward(dout, dlast, x, pre, bounds, flags))


@scan_backward.register_fake
def _(dout, dlast, u, delta, A, B, C, D, z, bias, coef, order, pre, bounds, softplus, zoh):
    return list(empty_backward(Inputs(u, delta, A, B, C, D, z, bias, coef, order)))


def _save(ctx, inputs, output):
    *tensors, ctx.softplus, ctx.zoh, save = inputs
    if not save:
        raise RuntimeError("the native scan was called for inference (save=False) but its gradient is wanted")
    _, pre, _, bounds = output
    ctx.mark_non_differentiable(pre, bounds)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, pre, bounds)
    ctx.needs = [isinstance(x, Tensor) for x in tensors]


def _gradient(ctx, dout, _dpre, dlast, _dbounds):
    tensors = ctx.saved_tensors
    if dout is None:
        dout = torch.zeros_like(tensors[0])
    du, ddelta, dA, dB, dC, dD, dz, dbias, dcoef = scan_backward(dout, dlast, *tensors, ctx.softplus, ctx.zoh)
    has_D, has_z, has_bias, has_coef = ctx.needs[5:9]
    return (
        du,
        ddelta,
        dA,
        dB,
        dC,
        dD if has_D else None,
        dz if has_z else None,
        dbias if has_bias else None,
        dcoef if has_coef else None,
        *[None] * 4,
    )


scan_forward.register_autograd(_gradient, setup_context=_save)
