"""Splitting L: what each span does to the state on its own, then the state that enters each span.

A span that is entered with state 0 ends with a sum, not with a scan: every token's input, decayed by the steps after
it; and the decay of a whole span is ``exp(A sum delta)``. So the first pass over the tokens costs no scan.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .arguments import part, pick, place, positions, step_size, tile, weight
from .maths import exp, hold, sigmoid

__all__ = ["adjoint_span_kernel", "carry_kernel", "state_span_kernel"]


@triton.jit
def _after(steps, index, sizes, BLOCK_T: tl.constexpr, EVERY: tl.constexpr):
    """Does a step follow: in the whole sequence, or in this tile only."""
    if EVERY:
        return steps + 1 < sizes.length
    else:
        return (steps + 1 < sizes.length) & (steps + 1 < (index + 1) * BLOCK_T)


@triton.jit
def _delta(inputs, strides, sizes, sample, group, rows, has_row, steps, has_step, SOFTPLUS: tl.constexpr):
    """Step sizes (E, T) at scan steps."""
    kept = has_row[:, None] & has_step[None, :]
    columns = positions(inputs, sizes, group, steps, has_step)
    raw = tile(inputs.delta, strides.delta, sample, group, rows, columns, kept)
    bias = None
    if inputs.bias is not None:
        bias = tl.load(inputs.bias + group * sizes.channels + rows, mask=has_row, other=0.0).to(tl.float32)
    delta, raw = step_size(raw, bias, kept, SOFTPLUS)
    return delta


@triton.jit
def state_span_kernel(
    inputs,
    strides,
    ends,
    totals,
    sizes,
    SOFTPLUS: tl.constexpr,
    ZOH: tl.constexpr,
    CONSTANT_B: tl.constexpr,
    CONSTANT_C: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """State after each span entered with 0, (B, G, spans, E, N), and its sum of steps, (B, G, spans, E)."""
    sample, group, rows, states, has_row = part(sizes, BLOCK_E, BLOCK_N)
    span = tl.program_id(0)
    carry = tl.zeros((BLOCK_E, BLOCK_N), tl.float32)
    sum_delta = tl.zeros((BLOCK_E,), tl.float32)
    for index in range(span * sizes.per_span, tl.minimum((span + 1) * sizes.per_span, sizes.tiles)):
        steps = index * BLOCK_T + tl.arange(0, BLOCK_T)
        has_step = steps < sizes.length
        columns = positions(inputs, sizes, group, steps, has_step)
        u = tile(inputs.u, strides.u, sample, group, rows, columns, has_row[:, None] & has_step[None, :])
        delta = _delta(inputs, strides, sizes, sample, group, rows, has_row, steps, has_step, SOFTPLUS)
        after = _after(steps, index, sizes, BLOCK_T, False)
        later = _delta(inputs, strides, sizes, sample, group, rows, has_row, steps + 1, after, SOFTPLUS)
        later = tl.cumsum(later, 1, reverse=True)  # sum of the steps after each token
        total = tl.sum(delta, 1)
        for n in range(sizes.states):
            A = tl.load(inputs.A + (group * sizes.channels + rows) * sizes.states + n, mask=has_row, other=0.0)
            A = A.to(tl.float32)
            B = weight(inputs.B, strides.B, sample, group, n, rows, columns, has_row, has_step, CONSTANT_B)
            factor = delta
            if ZOH:
                x = delta * A[:, None]
                factor = delta * hold(x, exp(x))
            gained = tl.sum(exp(later * A[:, None]) * factor * B * u, 1)
            carry = place(carry, states, n, exp(total * A) * pick(carry, states, n) + gained)
        sum_delta += total
    row = (((sample * sizes.groups + group) * sizes.spans + span) * sizes.channels) + rows
    has_cell = has_row[:, None] & (states[None, :] < sizes.states)
    tl.store(ends + row[:, None] * sizes.states + states[None, :], carry, mask=has_cell)
    tl.store(totals + row, sum_delta, mask=has_row)


@triton.jit
def adjoint_span_kernel(
    inputs,
    strides,
    dout,
    ends,
    totals,
    sizes,
    SOFTPLUS: tl.constexpr,
    ZOH: tl.constexpr,
    CONSTANT_B: tl.constexpr,
    CONSTANT_C: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """The same for the adjoint: the state's gradient at each span's first token, if nothing came from later spans.

    ``totals`` sums the steps from the span's second token to the first token after it.
    """
    sample, group, rows, states, has_row = part(sizes, BLOCK_E, BLOCK_N)
    span = tl.program_id(0)
    carry = tl.zeros((BLOCK_E, BLOCK_N), tl.float32)
    sum_delta = tl.zeros((BLOCK_E,), tl.float32)
    first = span * sizes.per_span
    end = tl.minimum(first + sizes.per_span, sizes.tiles)
    for back in range(end - first):
        index = end - 1 - back
        steps = index * BLOCK_T + tl.arange(0, BLOCK_T)
        has_step = steps < sizes.length
        kept = has_row[:, None] & has_step[None, :]
        columns = positions(inputs, sizes, group, steps, has_step)
        dy = tile(dout, strides.dout, sample, group, rows, columns, kept)
        if inputs.z is not None:
            z = tile(inputs.z, strides.z, sample, group, rows, columns, kept)
            dy *= z * sigmoid(z)
        inner = has_step & (steps > index * BLOCK_T)
        earlier = _delta(inputs, strides, sizes, sample, group, rows, has_row, steps, inner, SOFTPLUS)
        earlier = tl.cumsum(earlier, 1)  # sum of the steps from the tile's second token to this one
        after = _after(steps, index, sizes, BLOCK_T, True)
        total = tl.sum(_delta(inputs, strides, sizes, sample, group, rows, has_row, steps + 1, after, SOFTPLUS), 1)
        for n in range(sizes.states):
            A = tl.load(inputs.A + (group * sizes.channels + rows) * sizes.states + n, mask=has_row, other=0.0)
            A = A.to(tl.float32)
            C = weight(inputs.C, strides.C, sample, group, n, rows, columns, has_row, has_step, CONSTANT_C)
            gained = tl.sum(exp(earlier * A[:, None]) * C * dy, 1)
            carry = place(carry, states, n, exp(total * A) * pick(carry, states, n) + gained)
        sum_delta += total
    row = (((sample * sizes.groups + group) * sizes.spans + span) * sizes.channels) + rows
    has_cell = has_row[:, None] & (states[None, :] < sizes.states)
    tl.store(ends + row[:, None] * sizes.states + states[None, :], carry, mask=has_cell)
    tl.store(totals + row, sum_delta, mask=has_row)


@triton.jit
def carry_kernel(
    A, first, ends, totals, starts, sizes, REVERSE: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_N: tl.constexpr
):
    """State that enters each span, (B, G, spans, E, N), from what the spans do alone. Grid (1, channel blocks, B G).

    ``first``: (B, G, E, N), what enters the first span walked (the last with ``REVERSE``), or None: 0.
    """
    sample, group, rows, states, has_row = part(sizes, BLOCK_E, BLOCK_N)
    pair = sample * sizes.groups + group
    has_cell = has_row[:, None] & (states[None, :] < sizes.states)
    cells = rows[:, None] * sizes.states + states[None, :]
    block = sizes.channels * sizes.states
    A = tl.load(A + group * block + cells, mask=has_cell, other=0.0).to(tl.float32)
    if first is None:
        carry = tl.zeros((BLOCK_E, BLOCK_N), tl.float32)
    else:
        carry = tl.load(first + pair * block + cells, mask=has_cell, other=0.0)
    for i in range(sizes.spans):
        span = sizes.spans - 1 - i if REVERSE else i
        row = pair * sizes.spans + span
        tl.store(starts + row * block + cells, carry, mask=has_cell)
        total = tl.load(totals + row * sizes.channels + rows, mask=has_row, other=0.0)
        carry = exp(total[:, None] * A) * carry + tl.load(ends + row * block + cells, mask=has_cell, other=0.0)
