"""What the kernels are given, by name, and how they read it: tiles of channels by tokens, through strides and order."""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from .maths import softplus

__all__ = ["Inputs", "Sizes", "Strides", "part", "pick", "place", "positions", "step_size", "tile", "weight"]

Stride = tuple[int, ...]


class Inputs(NamedTuple):
    """Tensors of any floating dtype and any strides; ``A``, ``D``, ``bias`` and ``order`` are contiguous."""

    u: Tensor  # (B, G, E, L)
    delta: Tensor  # (B, G, E, L)
    A: Tensor  # (G, E, N)
    B: Tensor  # (B, G, N, L) or (G, E, N)
    C: Tensor  # (B, G, N, L) or (G, E, N)
    D: Tensor | None  # (G, E)
    z: Tensor | None  # (B, G, E, L)
    bias: Tensor | None  # (G, E)
    order: Tensor | None  # (G, L), int32


class Strides(NamedTuple):
    """Strides in elements of the inputs that are read through strides; of ``dout`` in the backward pass."""

    u: Stride
    delta: Stride
    B: Stride
    C: Stride
    z: Stride | None
    dout: Stride | None


class Sizes(NamedTuple):
    """Lengths of the axes; ``L`` is cut into ``tiles``, which ``spans`` programs share, ``per_span`` each."""

    groups: int
    channels: int
    length: int
    states: int
    tiles: int
    spans: int
    per_span: int


@triton.jit
def part(sizes, BLOCK_E: tl.constexpr, BLOCK_N: tl.constexpr):
    """Sample, group, channels (E,), states (N,) of this program, and which channels exist."""
    pair = tl.program_id(2)
    sample = (pair // sizes.groups).to(tl.int64)
    group = (pair % sizes.groups).to(tl.int64)
    rows = (tl.program_id(1) * BLOCK_E + tl.arange(0, BLOCK_E)).to(tl.int64)
    return sample, group, rows, tl.arange(0, BLOCK_N), rows < sizes.channels


@triton.jit
def positions(inputs, sizes, group, steps, kept):
    """Where scan steps (T,) lie in memory: the identity without an order table."""
    if inputs.order is None:
        return steps.to(tl.int64)
    else:
        return tl.load(inputs.order + group * sizes.length + steps, mask=kept, other=0).to(tl.int64)


@triton.jit
def tile(pointer, stride, sample, group, rows, columns, kept):
    """(E, T) values in float32, 0 where not ``kept``."""
    base = pointer + sample * stride[0] + group * stride[1]
    where = base + rows[:, None] * stride[2] + columns[None, :] * stride[3]
    return tl.load(where, mask=kept, other=0.0).to(tl.float32)


@triton.jit
def step_size(raw, bias, kept, SOFTPLUS: tl.constexpr):
    """Step sizes (E, T) and what the softplus was applied to; 0 where not ``kept``: such a step changes nothing."""
    if bias is not None:
        raw = raw + bias[:, None]
    delta = raw
    if SOFTPLUS:
        delta = softplus(raw)
    return tl.where(kept, delta, 0.0), raw


@triton.jit
def weight(pointer, stride, sample, group, n, rows, columns, has_row, has_step, CONSTANT: tl.constexpr):
    """State ``n`` of B or C in float32: (1, T), or (E, 1) where it is constant in time."""
    if CONSTANT:
        where = pointer + group * stride[0] + rows * stride[1] + n * stride[2]
        return tl.load(where, mask=has_row, other=0.0).to(tl.float32)[:, None]
    else:
        where = pointer + sample * stride[0] + group * stride[1] + n * stride[2] + columns * stride[3]
        return tl.load(where, mask=has_step, other=0.0).to(tl.float32)[None, :]


@triton.jit
def pick(matrix, states, n):
    """Column ``n`` of (E, N), which lives in registers."""
    return tl.sum(tl.where(states[None, :] == n, matrix, 0.0), 1)


@triton.jit
def place(matrix, states, n, column):
    """(E, N) with ``column`` (E,) in place ``n``."""
    return tl.where(states[None, :] == n, column[:, None], matrix)
