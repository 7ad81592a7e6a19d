"""The steps around the recurrence that the pure PyTorch backends share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..arguments import ScanArguments

__all__ = ["advance", "decay_and_input", "finish", "prepare"]


def _into_scan_order(x: Tensor, order: Tensor | None) -> Tensor:
    """``(B, G, K, L)`` by position -> the same by scan step."""
    return x if order is None else x.gather(-1, order.long()[None, :, None, :].expand(x.shape))


def prepare(args: ScanArguments) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Widen to the state dtype, apply bias and softplus to the step, put tokens in scan order.

    Returns:
        ``u, delta (B, G, E, L)``, ``A (G, E, N)`` and ``B, C`` as ``(B, G, 1, N, L)`` (varying) or ``(1, G, E, N,
        1)`` (constant).
    """
    dtype = args.state_dtype
    delta = args.delta.to(dtype)
    if args.delta_bias is not None:
        delta = delta + args.delta_bias.to(dtype)[..., None]
    if args.delta_softplus:
        delta = F.softplus(delta)

    def weights(x: Tensor) -> Tensor:
        x = x.to(dtype)
        return x[None, ..., None] if x.dim() == 3 else _into_scan_order(x, args.order)[:, :, None]

    return (
        _into_scan_order(args.u.to(dtype), args.order),
        _into_scan_order(delta, args.order),
        args.A.to(dtype),
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
    expm1 = torch.tanh(x / 2) * (a + 1) if torch.compiler.is_exporting() else torch.expm1(x)
    return a, torch.where(tiny, delta * (1 + x / 2), expm1 / safe_A)


def advance(h: Tensor, step: Tensor, A: Tensor, Bu: Tensor, discretization: str) -> Tensor:
    """One token for ``K`` blocks at once: ``h (B, G, E, N, K)``, ``step (B, G, E, K)``, ``Bu (B, G, E, N, K)``."""
    a, factor = decay_and_input(step[..., None, :], A[..., None], discretization)
    return a * h + factor * Bu


def finish(y: Tensor, args: ScanArguments) -> Tensor:
    """Back to position order, add the skip ``D u``, gate with ``silu(z)``, cast to the dtype of ``u``.

    ``y`` is by scan step, ``u`` and ``z`` by position.
    """
    if args.order is not None:
        y = y.gather(-1, args.order.long().argsort(-1)[None, :, None, :].expand(y.shape))
    if args.D is not None:
        y = y + args.D.to(y.dtype)[..., None] * args.u.to(y.dtype)
    if args.z is not None:
        y = y * F.silu(args.z.to(y.dtype))
    return y.to(args.u.dtype)
