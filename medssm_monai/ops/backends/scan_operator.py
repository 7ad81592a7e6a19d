"""The scan as PyTorch's higher-order operator ``scan``, for ``torch.export`` and ONNX: one node, however long.

A loop over tokens in Python would be written out by the exporter, operator by operator (thousands of nodes); the
higher-order operator stays a loop: one ONNX ``Scan``. As in the backend ``blocked`` the sequence is cut into ``K``
blocks of ``S ~ sqrt(L)`` tokens that advance side by side, so that the loop has ``S`` steps and not ``L``. The state
that each block starts from is found without a loop: what a block adds is a weighted sum over its tokens (of ``B E N L``
numbers), and ``log2 K`` doublings chain the blocks. All factors are ``exp`` of something not positive.

Chosen where no gradient is wanted: export under ``torch.no_grad()``, or a network whose parameters are frozen. PyTorch
2.13 cannot convert the operator to ONNX with a gradient and a free batch size; ``blocked`` is taken then.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..arguments import ScanArguments
from .torch_steps import advance, decay_and_input, finish, prepare

__all__ = ["scan"]


def _later_steps(step: Tensor) -> Tensor:
    """Sum of the steps after each token of its block, ``(..., K, S)`` to the same shape."""
    after = F.pad(step[..., 1:], (0, 1))
    return after.flip(-1).cumsum(-1).flip(-1)


def _chain(decay: Tensor, own: Tensor) -> Tensor:
    """State that each block starts from, ``(..., K)``: ``h[k + 1] = decay[k] h[k] + own[k]``, ``h[0] = 0``."""
    count, reach = own.shape[-1], 1
    while reach < count:  # both now cover `reach` blocks; join each with the stretch before it
        own = own + decay * F.pad(own[..., :-reach], (reach, 0))
        if 2 * reach < count:
            decay = decay * F.pad(decay[..., :-reach], (reach, 0), value=1.0)
        reach *= 2
    return F.pad(own[..., :-1], (1, 0))


def scan(args: ScanArguments) -> tuple[Tensor, Tensor]:
    """See :data:`~medssm_monai.ops.backends.ScanFunction`."""
    from torch._higher_order_ops.scan import scan as scan_operator  # loads the compiler: only when needed

    x, step, A, B, C = prepare(args)
    discretization = args.discretization
    length = x.shape[-1]
    size = math.isqrt(length)
    count = -(-length // size)

    def blocks(v: Tensor) -> Tensor:
        """``(..., L)`` to ``(..., K, S)``; padded steps have delta = 0: the state passes through unchanged."""
        padded = F.pad(v, (0, count * size - length)) if count * size > length else v
        return padded.unflatten(-1, (count, size))

    xs, steps = blocks(x), blocks(step)  # (B, G, E, K, S)
    varying = {name: blocks(v) for name, v in (("B", B), ("C", C)) if v.shape[-1] == length}  # (B, G, 1, N, K, S)
    constant = {name: v for name, v in (("B", B), ("C", C)) if name not in varying}  # (1, G, E, N, 1)

    rates = A[..., None]
    _, factor = decay_and_input(steps.unsqueeze(3), rates[..., None], discretization)
    weight = torch.exp(_later_steps(steps).unsqueeze(3) * rates[..., None])  # (B, G, E, N, K, S)
    inputs = varying["B"] if "B" in varying else constant["B"][..., None]
    own = (weight * factor * inputs * xs.unsqueeze(3)).sum(-1)  # (B, G, E, N, K)
    decay = torch.exp(steps.sum(-1).unsqueeze(3) * rates)

    def token(h: Tensor, now: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        now = constant | now
        h = advance(h, now["step"], A, now["B"] * now["x"][..., None, :], discretization)
        return h, (h * now["C"]).sum(-2)  # (B, G, E, N, K), (B, G, E, K)

    by_token = {name: v.movedim(-1, 0) for name, v in (varying | {"x": xs, "step": steps}).items()}
    h, y = scan_operator(token, _chain(decay, own), by_token)  # y: (S, B, G, E, K)
    y = y.movedim(0, -1).flatten(-2)[..., :length]
    return finish(y, args), h[..., -1]
