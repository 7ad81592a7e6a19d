"""The selective scan of Mamba: the one entry that the rest of the package calls."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .arguments import plain, validated
from .backends import Request
from .selection import choose, runs_native
from .tracing import fixed_sizes, is_exporting, without_autocast

__all__ = ["selective_scan"]


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    *,
    discretization: str = "euler",
    order: Tensor | None = None,
    backend: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Selective state-space scan (Gu and Dao, "Mamba", 2023, equations 1-4 and algorithm 2).

    For each channel ``d`` and state ``n``, with a state that starts from 0::

        h[t, n] = exp(delta[t] A[n]) h[t-1, n] + w[t, n] B[t, n] u[t]
        y[t]    = sum_n C[t, n] h[t, n] + D u[t],    then y silu(z) if z is given

    where ``w = delta`` (``"euler"``, what the published Mamba kernels compute) or ``w = (exp(delta A) - 1) / A``
    (``"zoh"``, the zero-order hold printed in the papers; its limit ``delta`` is used where ``A`` vanishes). The
    state and the exponentials are float32 even for half-precision inputs, float64 if any input is float64; autocast
    is off inside.

    Signature and meaning of the positional arguments are those of ``mamba_ssm``'s ``selective_scan_fn``. Glossary:
    ``B`` batch, ``E`` channels, ``L`` tokens, ``N`` state size, ``G`` groups (scan directions).

    Args:
        u: input, ``(B, E, L)``, or ``(B, G, E, L)`` with an explicit group axis. Any strides: channel-first and
            channel-last data, expanded axes and slices are read where they lie.
        delta: step, same shape as ``u``; positive after bias and softplus.
        A: ``(E, N)`` (or ``(G, E, N)``), real; negative for a stable system.
        B: ``(B, N, L)``; ``(B, G, N, L)`` where each of ``G`` equal, consecutive parts of the channels has its own;
            or ``(E, N)``, constant in time.
        C: as ``B``.
        D: skip weight, ``(E,)`` (or ``(G, E)``).
        z: gate, same shape as ``u``.
        delta_bias: added to ``delta`` before the softplus, ``(E,)`` (or ``(G, E)``).
        delta_softplus: pass ``delta`` through softplus.
        return_last_state: also return the state after the last token.
        discretization: ``"euler"`` or ``"zoh"``.
        order: scan directions as data. Integer table ``(G, L)`` (or ``(L,)`` for all groups): step ``t`` of group
            ``g`` visits position ``order[g, t]``. All tensors with an ``L`` axis, the result included, stay in
            position order; a reversed or transposed scan needs no permuted copy. Each row must be a permutation of
            ``0..L-1`` (not checked). None: first to last token.
        backend: name of a backend for this call; default: :func:`use_backend`, then the environment variable
            ``MEDSSM_SCAN_BACKEND``, then the best for device and dtype.

    Returns:
        Output of the shape, dtype and tensor subclass (MONAI's ``MetaTensor``) of ``u``; with ``return_last_state``
        also the state ``(B, E, N)`` (or ``(B, G, E, N)``) in float32 (float64).

    Raises:
        TypeError: complex or integer tensors.
        ValueError: shapes that do not fit, an empty axis, tensors on several devices, an unknown discretization or
            backend.
        RuntimeError: the backend asked for cannot serve the call.

    Example:
        >>> import torch
        >>> from medssm_monai.ops import selective_scan
        >>> u, delta, A = torch.randn(2, 8, 50), torch.rand(2, 8, 50), -torch.rand(8, 4)
        >>> B, C = torch.randn(2, 4, 50), torch.randn(2, 4, 50)
        >>> selective_scan(u, delta, A, B, C).shape
        torch.Size([2, 8, 50])
    """
    if backend is None and order is None and not return_last_state:
        y = _short_way((u, delta, A, B, C, D, z, delta_bias), bool(delta_softplus), discretization)
        if y is not None:
            return y
    with fixed_sizes():
        plain_u = plain(u)
        rest = (plain(D), plain(z), plain(delta_bias), order, delta_softplus, discretization)
        args = validated(plain_u, plain(delta), plain(A), plain(B), plain(C), *rest)
        higher_order = torch.compiler.is_exporting()
        request = Request(
            u.device.type, args.state_dtype, args.needs_grad, is_exporting(), args.discretization, higher_order
        )
        chosen = choose(request, backend)
        with without_autocast(u.device.type):
            y, last = chosen.scan(args)
        if u.dim() == 3:
            y, last = y.flatten(1, 2), last.flatten(1, 2) if return_last_state else last
        if plain_u is not u:
            y = y.view_as(u)  # passes through the subclass, which adds what it carries
    return (y, last) if return_last_state else y


def _short_way(tensors: Any, softplus: bool, discretization: str) -> Tensor | None:
    """The output of a scan for inference by the fused CPU kernel, whose calls are kept ready; None: the long way."""
    if not all([x is None or isinstance(x, Tensor) for x in tensors]) or not runs_native(*tensors):
        return None
    if torch.is_grad_enabled() and any([x is not None and x.requires_grad for x in tensors]):
        return None
    from .backends.native.prepared import scan_prepared

    return scan_prepared(tensors, softplus, discretization)
