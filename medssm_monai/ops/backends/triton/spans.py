"""Splitting L: what each span does to the state on its own, then the state that enters each span.

A span that is entered with state 0 ends with a sum, not with a scan: every token's input, decayed by the steps after
it; and the decay of a whole span is ``exp(A sum delta)``. So the first pass over the tokens costs no scan.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .maths import exp, hold
from .tiles import (
    by_state,
    output_gradient,
    pick,
    place,
    positions,
    state_cells,
    step_sizes,
    this_program,
    tile,
    weight,
)

__all__ = ["adjoint_span_kernel", "carry_kernel", "state_span_kernel"]


@triton.jit
def _store_span(ends, totals, sizes, program, carry, sum_delta, BLOCK_N: tl.constexpr):
    """What a span does alone: ends (B, G, spans, E, N), totals (B, G, spans, E)."""
    sample, group, rows, has_row = program
    _, cells, has_cell = state_cells(sizes, program, BLOCK_N)
    part = ((sample * sizes.groups + group) * sizes.spans + tl.program_id(2)) * sizes.channels
    tl.store(ends + part * sizes.states + cells, carry, mask=has_cell)
    tl.store(totals + part + rows, sum_delta, mask=has_row)


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
    """State after each span entered with 0, and the sum of its steps. Grid as the forward kernel's."""
    program = this_program(sizes, BLOCK_E)
    states, _, _ = state_cells(sizes, program, BLOCK_N)
    span = tl.program_id(2)
    carry = tl.zeros((BLOCK_E, BLOCK_N), tl.float32)
    sum_delta = tl.zeros((BLOCK_E,), tl.float32)
    for index in range(span * sizes.per_span, tl.minimum((span + 1) * sizes.per_span, sizes.tiles)):
        steps = index * BLOCK_T + tl.arange(0, BLOCK_T)
        has_step = steps < sizes.length
        columns = positions(inputs, sizes, program, steps, has_step)
        u = tile(inputs.u, strides.u, program, columns, has_step, inputs.scattered is not None)
        delta = step_sizes(inputs, strides, sizes, program, columns, has_step, SOFTPLUS)
        after = (steps + 1 < sizes.length) & (steps + 1 < (index + 1) * BLOCK_T)
        next_columns = positions(inputs, sizes, program, steps + 1, after)
        later = step_sizes(inputs, strides, sizes, program, next_columns, after, SOFTPLUS)
        later = tl.cumsum(later, 1, reverse=True)  # sum of the tile's steps after each token
        total = tl.sum(delta, 1)
        for n in range(sizes.states):
            A = by_state(inputs.A, sizes, program, n)
            B = weight(inputs.B, strides.B, program, n, columns, has_step, CONSTANT_B)
            factor = delta
            if ZOH:
                x = delta * A[:, None]
                factor = delta * hold(x, exp(x))
            gained = tl.sum(exp(later * A[:, None]) * factor * B * u, 1)
            carry = place(carry, states, n, exp(total * A) * pick(carry, states, n) + gained)
        sum_delta += total
    _store_span(ends, totals, sizes, program, carry, sum_delta, BLOCK_N)


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

    The total sums the steps from the span's second token to the first token after it.
    """
    program = this_program(sizes, BLOCK_E)
    states, _, _ = state_cells(sizes, program, BLOCK_N)
    carry = tl.zeros((BLOCK_E, BLOCK_N), tl.float32)
    sum_delta = tl.zeros((BLOCK_E,), tl.float32)
    first = tl.program_id(2) * sizes.per_span
    end = tl.minimum(first + sizes.per_span, sizes.tiles)
    for back in range(end - first):
        index = end - 1 - back
        steps = index * BLOCK_T + tl.arange(0, BLOCK_T)
        has_step = steps < sizes.length
        columns = positions(inputs, sizes, program, steps, has_step)
        dy = output_gradient(dout, inputs, strides, program, columns, has_step)
        inner = has_step & (steps > index * BLOCK_T)
        earlier = step_sizes(inputs, strides, sizes, program, columns, inner, SOFTPLUS)
        earlier = tl.cumsum(earlier, 1)  # sum of the steps from the tile's second token to this one
        after = steps + 1 < sizes.length
        next_columns = positions(inputs, sizes, program, steps + 1, after)
        total = tl.sum(step_sizes(inputs, strides, sizes, program, next_columns, after, SOFTPLUS), 1)
        for n in range(sizes.states):
            A = by_state(inputs.A, sizes, program, n)
            C = weight(inputs.C, strides.C, program, n, columns, has_step, CONSTANT_C)
            gained = tl.sum(exp(earlier * A[:, None]) * C * dy, 1)
            carry = place(carry, states, n, exp(total * A) * pick(carry, states, n) + gained)
        sum_delta += total
    _store_span(ends, totals, sizes, program, carry, sum_delta, BLOCK_N)


@triton.jit
def carry_kernel(
    A, first, ends, totals, starts, sizes, REVERSE: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_N: tl.constexpr
):
    """State that enters each span, (B, G, spans, E, N), from what the spans do alone. Grid (B G, channel blocks).

    ``first``: (B, G, E, N), what enters the first span walked (the last with ``REVERSE``), or None: 0.
    """
    program = this_program(sizes, BLOCK_E)
    sample, group, rows, has_row = program
    pair = sample * sizes.groups + group
    _, cells, has_cell = state_cells(sizes, program, BLOCK_N)
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
