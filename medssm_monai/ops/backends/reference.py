"""The formula, token by token: never fast, always right, in any floating dtype. The oracle of the other backends."""

from __future__ import annotations

import torch
from torch import Tensor

from ..arguments import ScanArguments
from .torch_steps import decay_and_input, finish, prepare

__all__ = ["scan"]


def scan(args: ScanArguments) -> tuple[Tensor, Tensor]:
    """See :data:`~medssm_monai.ops.backends.ScanFunction`."""
    x, step, A, B, C = prepare(args)
    length = x.shape[-1]
    tokens = zip(*(v.expand(*v.shape[:-1], length).unbind(-1) for v in (x, step, B, C)), strict=True)
    h = x.new_zeros(*x.shape[:-1], A.shape[-1])  # (B, G, E, N)
    outputs = []
    for x_t, step_t, B_t, C_t in tokens:
        a, factor = decay_and_input(step_t[..., None], A, args.discretization)
        h = a * h + factor * B_t * x_t[..., None]
        outputs.append((h * C_t).sum(-1))  # (B, G, E)
    return finish(torch.stack(outputs, -1), args), h
