"""The steps around the recurrence that the pure PyTorch backends share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["advance", "decay_and_input", "finish", "prepare", "state_dtype"]


def state_dtype(*tensors: Tensor | None) -> torch.dtype:
    """Dtype of the state: float64 if any input is float64, else float32 (half precisions are widened)."""
    return torch.float64 if any(t is not None and t.dtype == torch.float64 for t in tensors) else torch.float32


def _into_scan_order(x: Tensor, order: Tensor | None) -> Tensor:
    """``(B, G, K, L)`` by position -> the same by scan step."""
    return x if order is None else x.gather(-1, order.long()[None, :, None, :].expand(x.shape))


def prepare(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    delta_bias: Tensor | None,
    order: Tensor | None,
    delta_softplus: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Widen to the state dtype, apply bias and softplus to the step, put tokens in scan order.

    Returns:
        ``u, delta (B, G, E, L)``, ``A (G, E, N)`` and ``B, C`` as ``(B, G, 1, N, L)`` (varying) or ``(1, G, E, N,
        1)`` (constant).
    """
    dtype = state_dtype(u, delta, A, B, C)
    delta = delta.to(dtype)
    if delta_bias is not None:
        delta = delta + delta_bias.to(dtype)[..., None]
    if delta_softplus:
        delta = F.softplus(delta)

    def weights(x: Tensor) -> Tensor:
        x = x.to(dtype)
        return x[None, ..., None] if x.dim() == 3 else _into_scan_order(x, order)[:, :, None]

    return (
        _into_scan_order(u.to(dtype), order),
        _into_scan_order(delta, order),
        A.to(dtype),
        weights(B),
        weights(C),
    )


def decay_and_input(delta: Tensor, A: Tensor, discretization: str) -> tuple[Tensor, Tensor]:
    """``exp(delta A)`` and the factor in front of ``B u``: ``delta`` (Euler) or ``(exp(delta A) - 1) / A``
    (zero-order hold).

    The zero-order hold uses ``expm1`` and, where ``|delta A|`` is so small that ``A`` may be 0, the limit ``delta (1
    + delta A / 2)``.
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


def finish(
    y: Tensor, u: Tensor, D: Tensor | None, z: Tensor | None, order: Tensor | None, out_dtype: torch.dtype
) -> Tensor:
    """Back to position order, add the skip ``D u``, gate with ``silu(z)``, cast.

    ``y`` is by scan step, ``u`` and ``z`` by position.
    """
    if order is not None:
        y = y.gather(-1, order.long().argsort(-1)[None, :, None, :].expand(y.shape))
    if D is not None:
        y = y + D.to(y.dtype)[..., None] * u.to(y.dtype)
    if z is not None:
        y = y * F.silu(z.to(y.dtype))
    return y.to(out_dtype)
