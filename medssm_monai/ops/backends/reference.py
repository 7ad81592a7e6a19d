"""The formula, token by token: never fast, always right, in any floating dtype. The oracle of the other backends."""

from __future__ import annotations

import torch
from torch import Tensor

from .common import decay_and_input, finish, prepare

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
    x, step, A_, B_, C_ = prepare(u, delta, A, B, C, delta_bias, order, delta_softplus)
    length = x.shape[-1]
    tokens = zip(*(v.expand(*v.shape[:-1], length).unbind(-1) for v in (x, step, B_, C_)), strict=True)
    h = x.new_zeros(*x.shape[:-1], A_.shape[-1])  # (B, G, E, N)
    outputs = []
    for x_t, step_t, B_t, C_t in tokens:
        a, factor = decay_and_input(step_t[..., None], A_, discretization)
        h = a * h + factor * B_t * x_t[..., None]
        outputs.append((h * C_t).sum(-1))  # (B, G, E)
    return finish(torch.stack(outputs, -1), u, D, z, order, u.dtype), h
