"""Tiles of channels by tokens: which are a program's, and how they are read, through strides and order."""

from __future__ import annotations

import triton
import triton.language as tl

from .maths import sigmoid, softplus
from .records import Program

__all__ = [
    "add_at",
    "by_state",
    "output_gradient",
    "per_channel",
    "pick",
    "place",
    "positions",
    "raw_steps",
    "state_cells",
    "step_sizes",
    "this_program",
    "tile",
    "weight",
]


@triton.jit
def this_program(sizes, BLOCK_E: tl.constexpr):
    """What of the scan is this program's."""
    pair = tl.program_id(0)
    rows = (tl.program_id(1) * BLOCK_E + tl.arange(0, BLOCK_E)).to(tl.int64)
    sample, group = (pair // sizes.groups).to(tl.int64), (pair % sizes.groups).to(tl.int64)
    return Program(sample, group, rows, rows < sizes.channels)


@triton.jit
def state_cells(sizes, program, BLOCK_N: tl.constexpr):
    """States (N,), offsets (E, N) of this program's part in an (E, N) matrix, and which of them exist."""
    _, _, rows, has_row = program
    states = tl.arange(0, BLOCK_N)
    cells = rows[:, None] * sizes.states + states[None, :]
    return states, cells, has_row[:, None] & (states[None, :] < sizes.states)


@triton.jit
def positions(inputs, sizes, program, steps, has_step):
    """Where scan steps (T,) lie in memory: the identity without an order table."""
    if inputs.order is None:
        return steps.to(tl.int64)
    else:
        return tl.load(inputs.order + program.group * sizes.length + steps, mask=has_step, other=0).to(tl.int64)


@triton.jit
def _load(pointer, stride, program, columns, has_step, APART: tl.constexpr):
    """(E, T) values in float32, 0 where there is no channel or step; ``APART``: with one address per thread."""
    sample, group, rows, has_row = program
    base = pointer + sample * stride[0] + group * stride[1]
    where = base + rows[:, None] * stride[2] + columns[None, :] * stride[3]
    if APART:
        where = tl.max_contiguous(where, (1, 1))
    return tl.load(where, mask=has_row[:, None] & has_step[None, :], other=0.0).to(tl.float32)


@triton.jit
def _every_fourth(x):
    """Elements 4 j, 4 j + 1, 4 j + 2 and 4 j + 3 of a vector."""
    even, odd = tl.split(tl.reshape(x, (x.shape[0] // 4, 2, 2)))
    x_0, x_2 = tl.split(even)
    x_1, x_3 = tl.split(odd)
    return x_0, x_1, x_2, x_3


@triton.jit
def tile(pointer, stride, program, columns, has_step, SCATTERED: tl.constexpr):
    """(E, T) values in float32, 0 where there is no channel or step.

    Triton gives a thread neighboring tokens only where it knows that they lie side by side; with one token per
    thread a scan over tokens costs five times as many exchanges between threads. So where they are ``SCATTERED``,
    through an order table or because channels lie side by side, four loads are joined into four tokens per thread:
    each tile is loaded once and scanned once per state.
    """
    if SCATTERED:
        c_0, c_1, c_2, c_3 = _every_fourth(columns)
        has_0, has_1, has_2, has_3 = _every_fourth(has_step)
        x_0 = _load(pointer, stride, program, c_0, has_0, True)
        x_1 = _load(pointer, stride, program, c_1, has_1, True)
        x_2 = _load(pointer, stride, program, c_2, has_2, True)
        x_3 = _load(pointer, stride, program, c_3, has_3, True)
        joined = tl.join(tl.join(x_0, x_2), tl.join(x_1, x_3))  # (E, T / 4, 2, 2)
        return tl.reshape(joined, (x_0.shape[0], columns.shape[0]))
    else:
        return _load(pointer, stride, program, columns, has_step, False)


@triton.jit
def per_channel(pointer, sizes, program):
    """(E, 1) values of D or the bias in float32."""
    _, group, rows, has_row = program
    return tl.load(pointer + group * sizes.channels + rows, mask=has_row, other=0.0).to(tl.float32)[:, None]


@triton.jit
def by_state(pointer, sizes, program, n):
    """(E,) values of A for state ``n`` in float32."""
    _, group, rows, has_row = program
    where = pointer + (group * sizes.channels + rows) * sizes.states + n
    return tl.load(where, mask=has_row, other=0.0).to(tl.float32)


@triton.jit
def raw_steps(inputs, strides, sizes, program, columns, has_step):
    """(E, T) of delta and bias, before the softplus."""
    raw = tile(inputs.delta, strides.delta, program, columns, has_step, inputs.scattered is not None)
    if inputs.bias is not None:
        raw += per_channel(inputs.bias, sizes, program)
    return raw


@triton.jit
def step_sizes(inputs, strides, sizes, program, columns, has_step, SOFTPLUS: tl.constexpr):
    """Step sizes (E, T); 0 where there is no channel or step: such a step changes nothing."""
    delta = raw_steps(inputs, strides, sizes, program, columns, has_step)
    if SOFTPLUS:
        delta = softplus(delta)
    return tl.where(program.has_row[:, None] & has_step[None, :], delta, 0.0)


@triton.jit
def output_gradient(dout, inputs, strides, program, columns, has_step):
    """(E, T) gradient of the output before the gate."""
    dy = tile(dout, strides.dout, program, columns, has_step, inputs.scattered is not None)
    if inputs.z is not None:
        z = tile(inputs.z, strides.z, program, columns, has_step, inputs.scattered is not None)
        dy *= z * sigmoid(z)
    return dy


@triton.jit
def weight(pointer, stride, program, n, columns, has_step, CONSTANT: tl.constexpr):
    """State ``n`` of B or C in float32: (1, T), or (E, 1) where it is constant in time."""
    sample, group, rows, has_row = program
    if CONSTANT:
        where = pointer + group * stride[0] + rows * stride[1] + n * stride[2]
        return tl.load(where, mask=has_row, other=0.0).to(tl.float32)[:, None]
    else:
        where = pointer + sample * stride[0] + group * stride[1] + n * stride[2] + columns * stride[3]
        return tl.load(where, mask=has_step, other=0.0).to(tl.float32)[None, :]


@triton.jit
def pick(matrix, states, n):
    """Column ``n`` (E,) of (E, N), which lives in registers."""
    return tl.sum(tl.where(states[None, :] == n, matrix, 0.0), 1)


@triton.jit
def place(matrix, states, n, column):
    """(E, N) with ``column`` (E,) in place ``n``."""
    return tl.where(states[None, :] == n, column[:, None], matrix)


@triton.jit
def add_at(matrix, states, n, column):
    """(E, N) with ``column`` (E,) added in place ``n``."""
    return matrix + tl.where(states[None, :] == n, column[:, None], 0.0)
