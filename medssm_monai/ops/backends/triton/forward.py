"""The forward pass: one program scans a block of channels over a span of tiles, one state after the other."""

from __future__ import annotations

import triton
import triton.language as tl

from .maths import compose, exp, hold, sigmoid
from .tiles import by_state, per_channel, pick, place, positions, state_cells, step_sizes, this_program, tile, weight

__all__ = ["forward_kernel"]


@triton.jit
def forward_kernel(
    inputs,
    strides,
    starts,
    outputs,
    sizes,
    SOFTPLUS: tl.constexpr,
    ZOH: tl.constexpr,
    CONSTANT_B: tl.constexpr,
    CONSTANT_C: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Grid (B G, channel blocks, spans). ``starts``: (B, G, spans, E, N), the state before each span, or None: 0."""
    program = this_program(sizes, BLOCK_E)
    sample, group, rows, has_row = program
    pair = sample * sizes.groups + group
    states, cells, has_cell = state_cells(sizes, program, BLOCK_N)
    block = sizes.channels * sizes.states  # states of one sample, group and moment
    span = tl.program_id(2)
    if starts is None:
        carry = tl.zeros((BLOCK_E, BLOCK_N), tl.float32)
    else:
        carry = tl.load(starts + (pair * sizes.spans + span) * block + cells, mask=has_cell, other=0.0)
    local = tl.arange(0, BLOCK_T)
    for index in range(span * sizes.per_span, tl.minimum((span + 1) * sizes.per_span, sizes.tiles)):
        if outputs.bounds is not None:
            tl.store(outputs.bounds + (pair * sizes.tiles + index) * block + cells, carry, mask=has_cell)
        steps = index * BLOCK_T + local
        has_step = steps < sizes.length
        columns = positions(inputs, sizes, program, steps, has_step)
        u = tile(inputs.u, strides.u, program, columns, has_step, inputs.scattered is not None)
        delta = step_sizes(inputs, strides, sizes, program, columns, has_step, SOFTPLUS)
        y = tl.zeros((BLOCK_E, BLOCK_T), tl.float32)
        for n in range(sizes.states):
            B = weight(inputs.B, strides.B, program, n, columns, has_step, CONSTANT_B)
            C = weight(inputs.C, strides.C, program, n, columns, has_step, CONSTANT_C)
            x = delta * by_state(inputs.A, sizes, program, n)[:, None]
            decay = exp(x)
            factor = delta
            if ZOH:
                factor = delta * hold(x, decay)
            decays, h = tl.associative_scan((decay, factor * B * u), 1, compose)
            h += decays * pick(carry, states, n)[:, None]
            y += C * h
            carry = place(carry, states, n, tl.sum(tl.where(local[None, :] == BLOCK_T - 1, h, 0.0), 1))
        if inputs.D is not None:
            y += per_channel(inputs.D, sizes, program) * u
        if inputs.z is not None:
            z = tile(inputs.z, strides.z, program, columns, has_step, inputs.scattered is not None)
            y *= z * sigmoid(z)
        where = (pair * sizes.channels + rows)[:, None] * sizes.length + columns[None, :]
        tl.store(outputs.out + where, y, mask=has_row[:, None] & has_step[None, :])
    finished = tl.where(span == sizes.spans - 1, sizes.states, 0)  # only the last span knows the last state
    tl.store(outputs.last + pair * block + cells, carry, mask=has_cell & (states[None, :] < finished))
