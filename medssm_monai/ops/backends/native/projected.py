"""The scan with step, B and C projected inside the kernel, as a differentiable function for eager mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...first_order import first_order
from .backward import backward_kernel
from .eager import named
from .forward import forward_kernel
from .packing import Copies, add_over_samples, packed_rows
from .positions import kept_positions
from .projection import projection_bytes
from .records import STATES, TILE, input_sizes, make_params, padded
from .reduce import add_partial_sums
from .thread_pool import run_units, thread_count
from .tiles import WEIGHTS, accumulator_bytes, weight_bytes
from .vector import LANES

__all__ = ["scan_projected"]


class _Sizes(NamedTuple):
    """Sizes of a scan, and what its kernel makes of them."""

    batch: int
    groups: int
    channels: int
    length: int
    states: int
    discretization: str

    @property
    def width(self) -> int:
        """Channels up to whole vectors."""
        return padded(self.channels, LANES)

    @property
    def rows(self) -> int:
        """Results of the projections for a token, ``J`` of :mod:`.projection`."""
        return self.width + 2 * padded(self.states, LANES)

    @property
    def state(self) -> tuple[int, int]:
        """Rows and columns of a packed state."""
        return padded(self.states, STATES), self.width

    def values(self, work: int) -> dict[str, int]:
        """Entries of the argument record."""
        values = input_sizes(self[:4], self.states, True, self.discretization) | {"blocks": self.width // LANES}
        return values | {"parts": 1, "chunks": 1, "work": work, "columns": 4 * self.rows}

    def projections(self) -> tuple[tuple[int, int, int], ...]:
        """Of step, B and C: their rows, where they begin among all rows, and how many there is room for."""
        depth = padded(self.states, LANES)
        step = self.channels, 0, self.width
        return step, (self.states, self.width, depth), (self.states, self.width + depth, depth)


def _sources(sizes: _Sizes, step: Tensor, weights: Tensor) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Address and strides ``(G, J, K)`` of the rows of step, B and C."""
    at = weights.data_ptr()
    return (
        (step.data_ptr(), step.stride()),
        (at, weights.stride()),
        (at + 4 * sizes.states * weights.stride(1), weights.stride()),
    )


def _packed(
    sizes: _Sizes, back: bool, step: Tensor, weights: Tensor, A: Tensor, D: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, dict[str, int]]:
    """All weights as the kernels read them, in one memory, and how many numbers into it each of them begins.

    ``back``: also the projections as the backward pass reads them.
    """
    groups, channels, width, rows = sizes.groups, sizes.channels, sizes.width, sizes.rows
    depth = sizes.state[0]
    room = {"steer": rows * width, "steer_back": rows * width if back else 0, "A": depth * width}
    room |= {"D": 0 if D is None else width, "bias": 0 if bias is None else width}
    begins, total = {}, 0
    for name, size in room.items():
        if size:
            begins[name] = total
            total += groups * size
    memory = torch.empty(total, dtype=torch.float32)
    start, copies = memory.data_ptr(), Copies()
    for (count, first, space), (source, (g, j, k)) in zip(
        sizes.projections(), _sources(sizes, step, weights), strict=True
    ):
        steer = start + 4 * (begins["steer"] + first)
        copies.add(steer, (rows * width, rows), source, (g, k, j), (groups, channels, count), (width, space))
        if back:
            steer = start + 4 * (begins["steer_back"] + first * width)
            copies.add(steer, (rows * width, width), source, (g, j, k), (groups, count, channels), (space, width))
    for name, x in (("A", A), ("D", D), ("bias", bias)):
        if x is not None:
            copies.add_packed(start + 4 * begins[name], x, (packed_rows(x), width))
    copies.run()
    return memory, begins


def _addresses(memory: Tensor, begins: dict[str, int]) -> dict[str, int]:
    start = memory.data_ptr()
    return {name: start + 4 * begin for name, begin in begins.items()}


def _wide(u: Tensor, groups: int) -> Tensor:
    return u.unsqueeze(1).expand(-1, groups, -1, -1)


def _run_forward(
    sizes: _Sizes, u: Tensor, order: Tensor | None, memory: Tensor, begins: dict[str, int], save: bool
) -> tuple[Tensor, Tensor | None]:
    """Output ``(B, G, E, L)``, in memory group by group, and the states between tiles if ``save``."""
    batch, groups, channels, length, states, _ = sizes
    out = torch.empty((groups, batch, length, channels), dtype=torch.float32).permute(1, 0, 3, 2)
    last = torch.empty((batch, groups, *sizes.state), dtype=torch.float32)
    bounds = last.new_empty((batch, groups, -(-length // TILE), *sizes.state)) if save else None
    work = WEIGHTS + weight_bytes(sizes.state[0])
    tensors = {"u": _wide(u, groups), "order": order, "out": out, "last": last, "bounds": bounds}
    params = make_params(sizes.values(work) | _addresses(memory, begins), tensors)
    scratch = work + projection_bytes(sizes.rows, sizes.width // LANES)
    threads = thread_count(batch * groups * channels * length * states)
    run_units(forward_kernel(), params, scratch, batch * groups, threads)
    return out, bounds


def _run_backward(
    sizes: _Sizes,
    u: Tensor,
    order: Tensor | None,
    memory: Tensor,
    begins: dict[str, int],
    bounds: Tensor,
    dout: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients of ``u (B, E, L)``, step, weights, ``A``, ``D`` and ``delta_bias``; the last two may be empty."""
    batch, groups, channels, length, states, _ = sizes
    width, rows, depth = sizes.width, sizes.rows, sizes.state[0]
    samples = batch * groups
    du = torch.empty((groups, batch, length, channels), dtype=torch.float32)
    lengths = [samples * n for n in (depth * width, depth * width, width, width, rows * width)]
    sums = torch.empty(sum(lengths), dtype=torch.float32).split(lengths)
    tensors = dict(zip(("dA", "dlast", "dD", "dbias", "dsteer"), sums, strict=True))
    tensors |= {"u": _wide(u, groups), "order": order, "bounds": bounds}
    tensors |= {"dout": dout, "du": du.permute(1, 0, 3, 2)}
    work = WEIGHTS + weight_bytes(depth) + accumulator_bytes(depth)
    values = sizes.values(work) | _addresses(memory, begins) | {"dbias_p": 4 * samples * width}
    scratch = work + projection_bytes(rows, width // LANES)
    threads = thread_count(samples * channels * length * states)
    run_units(backward_kernel(), make_params(values, tensors), scratch, samples, threads)

    new = du.new_empty
    dstep, dweights, dA = (
        new(groups, channels, channels),
        new(groups, 2 * states, channels),
        new(groups, channels, states),
    )
    dD, dbias = (new((groups, channels) if name in begins else 0) for name in ("D", "bias"))
    copies, at = Copies(), tensors["dsteer"].data_ptr()
    for (count, first, _), (target, (g, j, _)) in zip(
        sizes.projections(), _sources(sizes, dstep, dweights), strict=True
    ):
        shape, steps = (groups, count, channels), (rows * width, width, 1)
        copies.add(target, (g, j), at + 4 * first * width, steps, shape, sums=(batch, groups * rows * width))
    copies.run()
    results = (("dA", dA), ("dD", dD), ("dbias", dbias))
    add_over_samples([(tensors[name], result) for name, result in results if result.numel()], width)
    return add_partial_sums(du).transpose(1, 2), dstep, dweights, dA, dD, dbias


def _scanned(
    sizes: _Sizes, order: Tensor | None, u: Tensor, weights: Sequence[Any], save: bool
) -> tuple[Tensor, Tensor, dict[str, int], Tensor | None]:
    """Output, packed weights, where each of them begins there, and the states between tiles if ``save``."""
    with named("medssm::native_scan"):
        memory, begins = _packed(sizes, save, *weights)
        out, bounds = _run_forward(sizes, u, order, memory, begins, save)
    return out, memory, begins, bounds


class _ProjectedScan(torch.autograd.Function):
    """Sizes, a checked order, ``u``, step, weights, A, D, bias → ``(B, G, E, L)``."""

    @staticmethod
    def forward(ctx: Any, sizes: _Sizes, order: Tensor | None, u: Tensor, *weights: Tensor | None) -> Tensor:
        out, memory, begins, bounds = _scanned(sizes, order, u, weights, save=True)
        ctx.sizes, ctx.begins = sizes, begins
        # the parameters so that a change of them is noticed: the kernels read the packed copies
        ctx.save_for_backward(order, u, memory, bounds, *weights)
        return out

    @staticmethod
    @first_order
    def backward(ctx: Any, dout: Tensor) -> tuple[Any, ...]:
        order, u, memory, bounds, *_ = ctx.saved_tensors
        with named("medssm::native_scan_backward"):
            grads = _run_backward(ctx.sizes, u, order, memory, ctx.begins, bounds, dout)
        wanted = ctx.needs_input_grad[2:]
        return None, None, *(x if want else None for x, want in zip(grads, wanted, strict=True))


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
    groups, channels, states = A.shape
    sizes = _Sizes(u.shape[0], groups, channels, u.shape[2], states, discretization)
    given = (step, weights, A, D, bias)
    if torch.is_grad_enabled() and any([x is not None and x.requires_grad for x in (u, *given)]):
        return _ProjectedScan.apply(sizes, order, u, *given)
    return _scanned(sizes, order, u, given, save=False)[0]
