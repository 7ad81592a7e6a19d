"""The steps around the recurrence that the pure PyTorch backends share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..arguments import ScanArguments, cast

__all__ = ["advance", "decay_and_input", "finish", "prepare"]


def _index(order: Tensor | None) -> Tensor | None:
    """``(G, L)`` as ``(1, G, 1, L)``, for :func:`_gathered`."""
    return None if order is None else order.unsqueeze(0).unsqueeze(2)


def _gathered(x: Tensor, index: Tensor | None) -> Tensor:
    """``(B, G, K, L)``: along its last axis what the index says, the same for each ``B`` and ``K``."""
    return x if index is None else x.gather(-1, index.expand(x.shape))


def prepare(args: ScanArguments) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Widen to the state dtype, apply bias and softplus to the step, put tokens in scan order.

    Returns:
        ``u, delta (B, G, E, L)``, ``A (G, E, N)`` and ``B, C`` as ``(B, G, 1, N, L)`` (varying) or ``(1, G, E, N,
        1)`` (constant).
    """
    dtype = args.state_dtype
    index = None if args.order is None else _index(cast(args.order, torch.int64))
    delta = cast(args.delta, dtype)
    if args.delta_bias is not None:
        delta = delta + cast(args.delta_bias, dtype)[..., None]
    if args.delta_softplus:
        delta = F.softplus(delta)

    def weights(x: Tensor) -> Tensor:
        x = cast(x, dtype)
        return x[None, ..., None] if x.dim() == 3 else _gathered(x, index).unsqueeze(2)

    return (
        _gathered(cast(args.u, dtype), index),
        _gathered(delta, index),
        cast(args.A, dtype),
        weights(args.B),
        weights(args.C),
    )


def decay_and_input(delta: Tensor, A: Tensor, discretization: str) -> tuple[Tensor, Tensor]:
    """``exp(delta A)`` and the factor in front of ``B u``.

    The factor is ``delta`` (Euler) or ``(exp(delta A) - 1) / A`` (zero-order hold), which uses ``expm1`` and, where
    ``|delta A|`` is so small that ``A`` may be 0, the limit ``delta (1 + delta A / 2)``.
    """
    x = delta * A
    if discretization == "euler":
        return torch.exp(x), delta
    tiny = x.abs() < 1e-10
    safe_A = torch.where(tiny, torch.ones_like(x), A.expand_as(x))
    a = torch.exp(x)
    # ONNX has no expm1, and exporters write exp(x) - 1, which loses the digits of small steps
    half = x / 2
    expm1 = torch.tanh(half) * (a + 1) if torch.compiler.is_exporting() else torch.expm1(x)
    return a, torch.where(tiny, delta * (1 + half), expm1 / safe_A)


def advance(h: Tensor, step: Tensor, A: Tensor, Bu: Tensor, discretization: str) -> Tensor:
    """One token for ``K`` blocks at once: ``h (B, G, E, N, K)``, ``step (B, G, E, K)``, ``Bu (B, G, E, N, K)``."""
    a, factor = decay_and_input(step[..., None, :], A[..., None], discretization)
    return a * h + factor * Bu


def finish(y: Tensor, args: ScanArguments) -> Tensor:
    """Back to position order, add the skip ``D u``, gate with ``silu(z)``, cast to the dtype of ``u``.

    ``y`` is by scan step, ``u`` and ``z`` by position.
    """
    if args.order is not None:
        y = _gathered(y, _index(cast(args.order, torch.int64).argsort(-1)))
    if args.D is not None:
        y = y + cast(args.D, y.dtype)[..., None] * cast(args.u, y.dtype)
    if args.z is not None:
        y = y * F.silu(cast(args.z, y.dtype))
    return cast(y, args.u.dtype)
