"""From tensors to launches: tile sizes, division of the work, buffers, partial sums added up in fixed order."""

from __future__ import annotations

import torch
from torch import Tensor

from ...arguments import ScanArguments
from .records import Gradients, Inputs, Outputs, Sizes, Strides, Tiling

__all__ = ["empty_backward", "empty_forward", "run_backward", "run_forward", "tiling"]

TILE_TOKENS = 64  # tokens scanned at once; the states between tiles are kept for the backward pass
TILE_CHANNELS = 16  # channels beside each other in a tile: dB and dC have one partial sum per so many channels
VALUES_PER_THREAD = 4  # of a tile; twice as many take all registers of the backward pass
PROGRAMS_PER_PROCESSOR = 4  # below so many programs per multiprocessor, L is split


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()


def tiling(channels: int, length: int, states: int) -> Tiling:
    """Tile for a scan of this size."""
    rows = max(2, min(TILE_CHANNELS, _power_of_two(channels)))
    columns = max(16, min(TILE_TOKENS, _power_of_two(length)))
    warps = max(1, min(8, rows * columns // (32 * VALUES_PER_THREAD)))
    return Tiling(rows, columns, max(2, _power_of_two(states)), warps)


def _programs_wanted(device: torch.device) -> int:
    if device.type != "cuda":
        return 1
    return PROGRAMS_PER_PROCESSOR * torch.cuda.get_device_properties(device).multi_processor_count


def _sizes(args: ScanArguments, tile: Tiling) -> Sizes:
    """L is split where samples and channel blocks leave a GPU idle."""
    batch, groups, channels, length = args.u.shape
    tiles = -(-length // tile.tokens)
    programs = batch * groups * -(-channels // tile.channels)
    per_span = -(-tiles // min(tiles, -(-_programs_wanted(args.u.device) // programs)))
    return Sizes(groups, channels, length, args.A.shape[-1], tiles, -(-tiles // per_span), per_span)


def empty_forward(args: ScanArguments, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """``out``, the last state, and (empty unless ``save``) the states before the tiles ``(B, G, tiles, E, N)``."""
    batch, groups, channels, length = args.u.shape
    states = args.A.shape[-1]
    tiles = -(-length // tiling(channels, length, states).tokens)
    return (
        args.u.new_empty(args.u.shape),
        args.u.new_empty((batch, groups, channels, states), dtype=torch.float32),
        args.u.new_empty((batch, groups, tiles, channels, states) if save else 0, dtype=torch.float32),
    )


def empty_backward(args: ScanArguments) -> list[Tensor]:
    """Gradients of ``args.tensors``; empty where the input is None."""
    return [args.u.new_empty(0) if x is None else x.new_empty(x.shape) for x in args.tensors]


def _grid(args: ScanArguments, sizes: Sizes, tile: Tiling) -> tuple[int, int, int]:
    return args.u.shape[0] * sizes.groups, -(-sizes.channels // tile.channels), sizes.spans


def _kernel_arguments(
    args: ScanArguments, tile: Tiling, dout: Tensor | None = None
) -> tuple[Inputs, Strides, dict[str, int]]:
    """Inputs and strides as the kernels name them, and the compile-time options."""
    options = {
        "SOFTPLUS": args.delta_softplus,
        "ZOH": args.discretization == "zoh",
        "CONSTANT_B": args.B.dim() == 3,
        "CONSTANT_C": args.C.dim() == 3,
        "BLOCK_E": tile.channels,
        "BLOCK_T": tile.tokens,
        "BLOCK_N": tile.states,
        "num_warps": tile.warps,
    }
    optional = (None if x is None else x.stride() for x in (args.z, dout))
    strides = Strides(args.u.stride(), args.delta.stride(), args.B.stride(), args.C.stride(), *optional)
    scattered = 1 if args.order is not None or args.u.stride(-1) != 1 else None
    return Inputs(*args[:9], scattered), strides, options


def _entering(
    args: ScanArguments, sizes: Sizes, tile: Tiling, dout: Tensor | None, dlast: Tensor | None
) -> Tensor | None:
    """What enters each span, ``(B, G, spans, E, N)``: states, or with ``dout`` their gradients from later spans."""
    from .spans import adjoint_span_kernel, carry_kernel, state_span_kernel

    if sizes.spans == 1:
        return dlast
    inputs, strides, options = _kernel_arguments(args, tile, dout)
    totals = args.u.new_empty((*args.u.shape[:2], sizes.spans, sizes.channels), dtype=torch.float32)
    ends = totals.new_empty((*totals.shape, sizes.states))
    starts = torch.empty_like(ends)
    grid = _grid(args, sizes, tile)
    if dout is None:
        state_span_kernel[grid](inputs, strides, ends, totals, sizes, **options)
    else:
        adjoint_span_kernel[grid](inputs, strides, dout, ends, totals, sizes, **options)
    carry_kernel[grid[:2]](
        args.A,
        dlast,
        ends,
        totals,
        starts,
        sizes,
        REVERSE=dout is not None,
        BLOCK_E=tile.channels,
        BLOCK_N=tile.states,
        num_warps=1,
    )
    return starts


def run_forward(args: ScanArguments, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`empty_forward`."""
    from .forward import forward_kernel

    tile = tiling(args.u.shape[2], args.u.shape[3], args.A.shape[-1])
    sizes = _sizes(args, tile)
    out, last, bounds = empty_forward(args, save)
    inputs, strides, options = _kernel_arguments(args, tile)
    outputs = Outputs(out, last, bounds if save else None)
    with torch.cuda.device_of(args.u):  # Triton launches on the current device
        starts = _entering(args, sizes, tile, None, None)
        forward_kernel[_grid(args, sizes, tile)](inputs, strides, starts, outputs, sizes, **options)
    return out, last, bounds


def run_backward(args: ScanArguments, dout: Tensor, dlast: Tensor | None, bounds: Tensor) -> list[Tensor]:
    """See :func:`empty_backward`."""
    from .backward import backward_kernel

    tile = tiling(args.u.shape[2], args.u.shape[3], args.A.shape[-1])
    sizes = _sizes(args, tile)
    grid = _grid(args, sizes, tile)
    du, ddelta, *_, dz, _ = empty_backward(args)

    def partial_sums(*shape: int) -> Tensor:
        return args.u.new_empty((*args.u.shape[:2], *shape), dtype=torch.float32)

    def partial_weights(x: Tensor) -> Tensor:
        if x.dim() == 3:
            return partial_sums(sizes.spans, sizes.channels, sizes.states)
        return partial_sums(grid[1], sizes.states, sizes.length)

    grads = Gradients(
        du,
        ddelta,
        dz if args.z is not None else None,
        partial_sums(sizes.spans, sizes.channels, sizes.states),
        partial_weights(args.B),
        partial_weights(args.C),
        partial_sums(sizes.spans, sizes.channels) if args.D is not None else None,
        partial_sums(sizes.spans, sizes.channels) if args.delta_bias is not None else None,
    )
    dlast = None if dlast is None else dlast.float().contiguous()
    inputs, strides, options = _kernel_arguments(args, tile, dout)
    with torch.cuda.device_of(args.u):
        starts = _entering(args, sizes, tile, dout, dlast)
        backward_kernel[grid](inputs, strides, dout, bounds, starts, grads, sizes, **options)

    def total(parts: Tensor | None, x: Tensor | None) -> Tensor:
        if parts is None or x is None:
            return args.u.new_empty(0)
        return parts.sum(2 if x.dim() == 4 else (0, 2)).to(x.dtype)

    dA, dB, dC = (total(g, x) for g, x in ((grads.A, args.A), (grads.B, args.B), (grads.C, args.C)))
    return [du, ddelta, dA, dB, dC, total(grads.D, args.D), dz, total(grads.bias, args.delta_bias)]
