"""The scan with step, B and C projected inside the kernel, as a differentiable function for eager mode."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...arguments import ScanArguments
from ...first_order import first_order
from .backward import backward_kernel
from .eager import named
from .forward import forward_kernel
from .launch import add_over_samples, sums_over_tokens
from .positions import kept_positions
from .projection import projection_bytes
from .records import STATES, TILE, input_sizes, make_params, pack, padded
from .reduce import add_partial_sums
from .thread_pool import run_units, thread_count
from .tiles import WEIGHTS, accumulator_bytes, weight_bytes
from .vector import LANES

__all__ = ["scan_projected"]


def _stacked(args: ScanArguments, step: Tensor, weights: Tensor) -> Tensor:
    """Rows ``(G, J, K')`` of :mod:`.projection`: ``step (G, E, E)``, ``weights (G, 2N, E)``."""
    groups, channels, _ = step.shape
    states, width = args.A.shape[-1], padded(channels, LANES)
    depth = padded(states, LANES)
    rows = np.zeros((groups, width + 2 * depth, width), np.float32)
    rows[:, :channels, :channels] = step.detach().numpy()
    both = weights.detach().numpy()
    rows[:, width : width + states, :channels] = both[:, :states]
    rows[:, width + depth : width + depth + states, :channels] = both[:, states:]
    return torch.from_numpy(rows)


def _sizes(args: ScanArguments, rows: Tensor, work: int) -> dict[str, int]:
    sizes = input_sizes(args) | {"blocks": rows.shape[2] // LANES, "parts": 1, "chunks": 1}
    return sizes | {"work": work, "columns": 4 * rows.shape[1]}


def _inputs(args: ScanArguments, rows: Tensor) -> dict[str, Tensor | None]:
    tensors: dict[str, Tensor | None] = {"u": args.u, "order": args.order, "A": pack(args.A), "D": pack(args.D)}
    across = torch.from_numpy(np.ascontiguousarray(rows.numpy().transpose(0, 2, 1)))  # (G, K', J)
    return tensors | {"bias": pack(args.delta_bias), "steer": across}


def _run_forward(args: ScanArguments, rows: Tensor, save: bool) -> tuple[Tensor, Tensor]:
    """Output ``(B, G, E, L)``, in memory group by group, and the states between tiles if ``save``."""
    batch, groups, channels, length = args.u.shape
    state = padded(args.A.shape[-1], STATES), rows.shape[2]
    out = torch.empty(groups, batch, length, channels, dtype=torch.float32).permute(1, 0, 3, 2)
    last = torch.empty(batch, groups, *state, dtype=torch.float32)
    bounds = torch.empty((batch, groups, -(-length // TILE), *state) if save else 0, dtype=torch.float32)
    work = WEIGHTS + weight_bytes(state[0])
    sizes = _sizes(args, rows, work)
    kept = _inputs(args, rows) | {"out": out, "last": last, "bounds": bounds if save else None}
    params = make_params(sizes, kept)
    scratch = work + projection_bytes(rows.shape[1], sizes["blocks"])
    run_units(forward_kernel(), params, scratch, batch * groups, thread_count(args.u.numel() * args.A.shape[-1]))
    del kept
    return out, bounds


def _run_backward(args: ScanArguments, rows: Tensor, dout: Tensor, bounds: Tensor) -> tuple[Tensor, ...]:
    """Gradients of ``u (B, E, L)``, the rows, ``A``, ``D`` and ``delta_bias``."""
    batch, groups, channels, length = args.u.shape
    states = args.A.shape[-1]
    du = torch.empty(groups, batch, length, channels, dtype=torch.float32)
    dsteer = torch.empty(batch, groups, rows.shape[1], rows.shape[2], dtype=torch.float32)
    sums = sums_over_tokens(args, None, bounds, 1, None)
    work = WEIGHTS + weight_bytes(bounds.shape[-2]) + accumulator_bytes(bounds.shape[-2])
    sizes = _sizes(args, rows, work) | {"dbias_p": 4 * sums["dD"].numel()}
    kept = _inputs(args, rows) | {"dout": dout, "bounds": bounds, "du": du.permute(1, 0, 3, 2), **sums}
    kept |= {"steer_back": rows, "dsteer": dsteer}
    params = make_params(sizes, kept)
    scratch = work + projection_bytes(rows.shape[1], sizes["blocks"])
    run_units(backward_kernel(), params, scratch, batch * groups, thread_count(args.u.numel() * states))
    del kept
    nothing = torch.empty(0, dtype=torch.float32)
    results = [nothing if x is None else torch.empty_like(x) for x in (args.A, args.D, args.delta_bias)]
    for name, result in zip(("dA", "dD", "dbias"), results, strict=True):
        if result.numel():
            add_over_samples(sums[name], result, rows.shape[2])
    return add_partial_sums(du).transpose(1, 2), dsteer.sum(0), *results


class _ProjectedScan(torch.autograd.Function):
    """``step (G, E, E)``, ``weights (G, 2N, E)``, whether to save, what :func:`_arguments` takes → ``(B, G, E, L)``."""

    @staticmethod
    def forward(ctx: Any, step: Tensor, weights: Tensor, save: bool, *scanned: Any) -> Tensor:
        args = _arguments(*scanned)
        rows = _stacked(args, step, weights)
        with named("medssm::native_scan"):
            out, bounds = _run_forward(args, rows, save)
        if save:
            *tensors, ctx.discretization = scanned
            ctx.save_for_backward(*tensors, rows, bounds)
        return out

    @staticmethod
    @first_order
    def backward(ctx: Any, dout: Tensor) -> tuple[Any, ...]:
        *tensors, rows, bounds = ctx.saved_tensors
        args = _arguments(*(*tensors, ctx.discretization))
        with named("medssm::native_scan_backward"):
            du, drows, dA, dD, dbias = _run_backward(args, rows, dout, bounds)
        (_, channels, states), width = args.A.shape, rows.shape[2]
        depth = padded(states, LANES)
        both = [drows[:, start : start + states, :channels] for start in (width, width + depth)]
        grads = (drows[:, :channels, :channels], torch.cat(both, 1), None, du, dA, dD, dbias, None, None)
        return tuple(x if want else None for x, want in zip(grads, ctx.needs_input_grad, strict=True))


def _arguments(
    u: Tensor, A: Tensor, D: Tensor | None, bias: Tensor | None, order: Tensor | None, discretization: str
) -> ScanArguments:
    """``B``, ``C`` and the step are not there: the kernel makes them."""
    wide = u[:, None].expand(-1, A.shape[0], -1, -1)
    return ScanArguments(wide, wide, A, wide, wide, D, None, bias, order, True, discretization)


def scan_projected(
    u: Tensor,
    step: Tensor,
    weights: Tensor,
    A: Tensor,
    D: Tensor | None,
    bias: Tensor | None,
    order: Tensor | None,
    discretization: str,
) -> Tensor:
    """See :func:`medssm_monai.ops.projected_scan`; ``u (B, E, L)``, result ``(B, G, E, L)``."""
    order = None if order is None else kept_positions(order)
    save = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (u, step, weights, A, D, bias))
    return _ProjectedScan.apply(step, weights, save, u, A, D, bias, order, discretization)
