"""Adapter to the CUDA kernel of the package ``mamba-ssm`` (Gu and Dao, 2023): interchangeable, and a yardstick.

The package is used where it and its compiled extension ``selective_scan_cuda`` are installed; since July 2026 its
default build leaves the extension out (``MAMBA_KEEP_CUDA_BUILD=TRUE`` while it is built asks for it). Its kernel
knows Euler's rule only, no order table (tokens are gathered into scan order and results scattered back, at the price
of copies), states up to 256, and no gradient of the last state: asking for one is an error here, where the package
returns wrong gradients without a word.

Tested against a stand-in for the package; nothing here was run with the package itself on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..arguments import ScanArguments

__all__ = ["MAX_STATES", "scan"]

MAX_STATES = 256  # of the package's kernel


class _NoGradient(torch.autograd.Function):
    """The identity; an error where a gradient comes back, which the package would drop."""

    @staticmethod
    def forward(ctx: Any, state: Tensor) -> Tensor:
        return state.clone()

    @staticmethod
    def backward(ctx: Any, _gradient: Tensor) -> Tensor:
        raise RuntimeError(
            "the kernel of mamba-ssm has no gradient of the last state; use another scan backend for this loss"
        )


def _upstream() -> Callable[..., Any]:
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError as error:
        raise RuntimeError(
            f"the package 'mamba_ssm' is installed but cannot be imported ({error}); "
            "reinstall it for this version of torch and CUDA, or choose another scan backend"
        ) from error
    return selective_scan_fn


def _merged(x: Tensor | None, order: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """``(B, G, K, L)`` by position to the same by scan step, in the kernel's dtype."""
    if x is None:
        return None
    x = x.to(dtype)
    return x if order is None else x.gather(-1, order[None, :, None].expand(x.shape))


def scan(args: ScanArguments) -> tuple[Tensor, Tensor]:
    """See :data:`~medssm_monai.ops.backends.ScanFunction`.

    ``delta``, ``z`` and varying ``B``, ``C`` take the dtype of ``u``, the others float32: the kernel asks for it.

    Raises:
        RuntimeError: the package cannot be imported, or a gradient of the last state is wanted.
        ValueError: not Euler's rule, or more states than the kernel takes.
    """
    if args.discretization != "euler":
        raise ValueError(f"the kernel of mamba-ssm knows the discretization 'euler' only, got {args.discretization!r}")
    if args.A.shape[-1] > MAX_STATES:
        raise ValueError(f"the kernel of mamba-ssm takes at most {MAX_STATES} states, got {args.A.shape[-1]}")
    kernel = _upstream()
    order = None if args.order is None else args.order.long()
    dtype, channels = args.u.dtype, args.u.shape[1:3]

    def tokens(x: Tensor | None) -> Tensor | None:
        x = _merged(x, order, dtype)
        return None if x is None else x.flatten(1, 2)  # (B, G E, L)

    def per_channel(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.float().flatten(0, 1)  # (G E, ...)

    def weights(x: Tensor) -> Tensor | None:
        return per_channel(x) if x.dim() == 3 else _merged(x, order, dtype)

    out, last = kernel(
        tokens(args.u),
        tokens(args.delta),
        per_channel(args.A),
        weights(args.B),
        weights(args.C),
        per_channel(args.D),
        tokens(args.z),
        per_channel(args.delta_bias),
        args.delta_softplus,
        True,
    )
    out = out.unflatten(1, channels)
    if order is not None:
        out = out.gather(-1, order.argsort(-1)[None, :, None].expand(out.shape))
    last = last.float().unflatten(1, channels)
    return out.to(dtype), _NoGradient.apply(last) if last.requires_grad else last
