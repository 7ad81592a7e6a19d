"""The selective scan of an input that steers itself through linear layers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .arguments import DISCRETIZATIONS, checked_order
from .scan import selective_scan
from .selection import runs_native

__all__ = ["projected_scan"]

NARROW = 128  # channels up to which the kernel makes step, B and C as fast as a matrix library does


def projected_scan(
    u: Tensor,
    step: Tensor,
    weights: Tensor,
    A: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    *,
    discretization: str = "euler",
    order: Tensor | None = None,
) -> Tensor:
    """Scan ``u`` in ``G`` directions, with ``delta = softplus(step u + delta_bias)`` and ``B, C = weights u``.

    As :func:`~medssm_monai.ops.selective_scan` of these. In float32 on the CPU, where channels are few, the kernel
    makes step, B and C of a tile of tokens when it gets there: they are never in memory as a whole, nor their
    gradients.

    Args:
        u: ``(B, L, E)``.
        step: ``(G, E, E)``.
        weights: ``(G, 2N, E)``, the rows of B before those of C.
        A: ``(G, E, N)``.
        D: ``(G, E)``.
        delta_bias: ``(G, E)``.
        discretization, order: as in :func:`~medssm_monai.ops.selective_scan`.

    Returns:
        ``(B, L, G, E)``.

    Raises:
        TypeError: an ``order`` that holds no integers.
        ValueError: shapes that do not fit, or an unknown discretization.
    """
    order = _checked(u, step, weights, A, D, delta_bias, discretization, order)
    groups, channels, states = A.shape
    tensors = (u, step, weights, A, D, delta_bias)
    if channels <= NARROW and runs_native(*tensors) and torch.get_num_threads() <= u.shape[0] * groups:
        from .backends.native.projected import scan_projected

        y = scan_projected(u.transpose(1, 2), step, weights, A, D, delta_bias, order, discretization)
        return y.permute(0, 3, 1, 2)
    delta = F.linear(u, step.flatten(0, 1)).unflatten(-1, (groups, channels)).permute(0, 2, 3, 1)
    b, c = F.linear(u, weights.flatten(0, 1)).unflatten(-1, (groups, 2 * states)).permute(0, 2, 3, 1).split(states, 2)
    wide = u.transpose(1, 2).unsqueeze(1).expand(-1, groups, -1, -1)  # (B, G, E, L)
    y = selective_scan(  # type: ignore[assignment]  # a pair only where the last state is asked for
        wide, delta, A, b, c, D, None, delta_bias, True, discretization=discretization, order=order
    )
    return y.permute(0, 3, 1, 2)


def _checked(
    u: Tensor,
    step: Tensor,
    weights: Tensor,
    A: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    discretization: str,
    order: Tensor | None,
) -> Tensor | None:
    """Compare all shapes; ``order`` with its group axis."""
    if discretization not in DISCRETIZATIONS:
        raise ValueError(f"unknown discretization {discretization!r}; expected one of {DISCRETIZATIONS}")
    if u.dim() != 3 or A.dim() != 3:
        raise ValueError(f"u must be (B, L, E) and A (G, E, N), got {tuple(u.shape)} and {tuple(A.shape)}")
    groups, channels, states = A.shape
    _expect("u", u, (u.shape[0], u.shape[1], channels), A)
    _expect("step", step, (groups, channels, channels), A)
    _expect("weights", weights, (groups, 2 * states, channels), A)
    for name, x in (("D", D), ("delta_bias", delta_bias)):
        if x is not None:
            _expect(name, x, (groups, channels), A)
    return None if order is None else checked_order(order, groups, u.shape[1], u.device)


def _expect(name: str, x: Tensor, shape: tuple[int, ...], A: Tensor) -> None:
    if x.shape != shape:
        raise ValueError(f"{name} must have shape {shape} beside A {tuple(A.shape)}, got {tuple(x.shape)}")
