"""The backward pass: tiles from last to first, states recomputed from those kept before each tile."""

from __future__ import annotations

import triton
import triton.language as tl

from .maths import compose, exp, hold, hold_slope, sigmoid
from .tiles import (
    add_at,
    by_state,
    output_gradient,
    per_channel,
    pick,
    place,
    positions,
    raw_steps,
    state_cells,
    step_sizes,
    this_program,
    tile,
    weight,
)

__all__ = ["backward_kernel"]


@triton.jit
def _weight_gradient(pointer, total, value, states, n, sizes, program, columns, has_step, CONSTANT: tl.constexpr):
    """Takes ``value`` (E, T) into the gradient of B or C.

    Into ``total`` (E, N) where the weight is constant in time, else, summed over this program's channels, into row
    ``n`` of its partial sum in memory.
    """
    if CONSTANT:
        total = add_at(total, states, n, tl.sum(value, 1))
    else:
        part = (program.sample * sizes.groups + program.group) * tl.num_programs(1) + tl.program_id(1)
        row = pointer + (part * sizes.states + n) * sizes.length
        tl.store(row + columns, tl.sum(value, 0), mask=has_step)
    return total


@triton.jit
def _store_tokens(inputs, strides, dout, grads, sizes, program, columns, has_step, sums, SOFTPLUS: tl.constexpr):
    """Stores the gradients that belong to tokens.

    Takes a tile's ``sums`` over states, of y, du and ddelta, through skip, gate and softplus. Returns this tile's
    parts (E,) of the gradients of D and the bias. Inputs are read again rather than kept in registers while the states
    are walked.
    """
    sample, group, rows, has_row = program
    y, du, ddelta = sums
    target = (sample * sizes.groups + group) * sizes.channels + rows
    target = target[:, None] * sizes.length + columns[None, :]
    kept = has_row[:, None] & has_step[None, :]
    dD = tl.zeros((rows.shape[0],), tl.float32)
    if inputs.D is not None:
        D = per_channel(inputs.D, sizes, program)
        u = tile(inputs.u, strides.u, program, columns, has_step, inputs.scattered is not None)
        dy = output_gradient(dout, inputs, strides, program, columns, has_step)
        y += D * u
        du += D * dy
        dD = tl.sum(dy * u, 1)
    if inputs.z is not None:
        z = tile(inputs.z, strides.z, program, columns, has_step, inputs.scattered is not None)
        gate = sigmoid(z)
        slope = gate * (1.0 + z * (1.0 - gate))
        dz = tile(dout, strides.dout, program, columns, has_step, inputs.scattered is not None) * y * slope
        tl.store(grads.z + target, dz, mask=kept)
    if SOFTPLUS:
        ddelta *= sigmoid(raw_steps(inputs, strides, sizes, program, columns, has_step))
    tl.store(grads.u + target, du, mask=kept)
    tl.store(grads.delta + target, ddelta, mask=kept)
    return dD, tl.sum(tl.where(kept, ddelta, 0.0), 1)


@triton.jit
def _store_totals(
    inputs,
    grads,
    sizes,
    program,
    dA,
    dB,
    dC,
    dD,
    dbias,
    CONSTANT_B: tl.constexpr,
    CONSTANT_C: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Stores this program's partial sums over its tokens."""
    sample, group, rows, has_row = program
    _, cells, has_cell = state_cells(sizes, program, BLOCK_N)
    part = ((sample * sizes.groups + group) * sizes.spans + tl.program_id(2)) * sizes.channels
    cells += part * sizes.states
    tl.store(grads.A + cells, dA, mask=has_cell)
    if CONSTANT_B:
        tl.store(grads.B + cells, dB, mask=has_cell)
    if CONSTANT_C:
        tl.store(grads.C + cells, dC, mask=has_cell)
    if inputs.D is not None:
        tl.store(grads.D + part + rows, dD, mask=has_row)
    if inputs.bias is not None:
        tl.store(grads.bias + part + rows, dbias, mask=has_row)


@triton.jit
def _step_gradient(dh, delta, A, x, decay, remembered, driven, ZOH: tl.constexpr):
    """Gradients (E, T) of delta and A of ``h = decay h' + factor driven``; ``remembered`` = decay h'.

    Euler: factor = delta. Zero-order hold: factor = (e^x - 1) / A with x = delta A, whose slopes are e^x in delta and
    delta^2 hold_slope(x) in A.
    """
    ddelta, dA = A * remembered, delta * remembered
    if ZOH:
        ddelta += decay * driven
        dA += delta * delta * hold_slope(x, decay) * driven
    else:
        ddelta += driven
    return dh * ddelta, dh * dA


@triton.jit
def _one_state(
    inputs,
    strides,
    sizes,
    program,
    tokens,
    columns,
    has_step,
    state,
    ZOH: tl.constexpr,
    CONSTANT_B: tl.constexpr,
    CONSTANT_C: tl.constexpr,
):
    """What one state adds to the output and to the gradients of u, delta, A, B, C, and its own gradient: all (E, T).

    ``tokens``: u, delta, the next token's delta, gradient of the output; ``state``: its number, its values (E,)
    before the tile and their gradient at the first token after it.
    """
    u, delta, later, dy = tokens
    n, entering, leaving = state
    A = by_state(inputs.A, sizes, program, n)[:, None]
    B = weight(inputs.B, strides.B, program, n, columns, has_step, CONSTANT_B)
    C = weight(inputs.C, strides.C, program, n, columns, has_step, CONSTANT_C)
    x = delta * A
    decay = exp(x)
    factor = delta
    if ZOH:
        factor = delta * hold(x, decay)
    gained = factor * B * u
    decays, h = tl.associative_scan((decay, gained), 1, compose)
    h += decays * entering[:, None]
    # gradient of the state: from this token's output, and back from the next token
    decays, dh = tl.associative_scan((exp(later * A), C * dy), 1, compose, reverse=True)
    dh += decays * leaving[:, None]
    # h - gained: decay times the state before, without a second scan
    ddelta, dA = _step_gradient(dh, delta, A, x, decay, h - gained, B * u, ZOH)
    return C * h, dh * factor * B, ddelta, dA, dh * factor * u, dy * h, dh


@triton.jit
def _one_tile(
    inputs,
    strides,
    dout,
    bounds,
    grads,
    sizes,
    program,
    index,
    totals,
    SOFTPLUS: tl.constexpr,
    ZOH: tl.constexpr,
    CONSTANT_B: tl.constexpr,
    CONSTANT_C: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Tile ``index`` of the backward pass. ``totals``: what :func:`backward_kernel` carries from tile to tile."""
    sample, group, rows, has_row = program
    carry, dA, dB, dC, dD, dbias = totals
    states = tl.arange(0, BLOCK_N)
    steps = index * BLOCK_T + tl.arange(0, BLOCK_T)
    has_step, has_next = steps < sizes.length, steps + 1 < sizes.length
    columns = positions(inputs, sizes, program, steps, has_step)
    next_columns = positions(inputs, sizes, program, steps + 1, has_next)
    u = tile(inputs.u, strides.u, program, columns, has_step, inputs.scattered is not None)
    delta = step_sizes(inputs, strides, sizes, program, columns, has_step, SOFTPLUS)
    later = step_sizes(inputs, strides, sizes, program, next_columns, has_next, SOFTPLUS)
    tokens = (u, delta, later, output_gradient(dout, inputs, strides, program, columns, has_step))
    row = ((sample * sizes.groups + group) * sizes.tiles + index) * sizes.channels + rows
    y = tl.zeros((BLOCK_E, BLOCK_T), tl.float32)
    du, ddelta = y, y
    for n in range(sizes.states):
        state = (n, tl.load(bounds + row * sizes.states + n, mask=has_row, other=0.0), pick(carry, states, n))
        y_n, du_n, ddelta_n, dA_n, dB_n, dC_n, dh = _one_state(
            inputs, strides, sizes, program, tokens, columns, has_step, state, ZOH, CONSTANT_B, CONSTANT_C
        )
        y += y_n
        du += du_n
        ddelta += ddelta_n
        dA = add_at(dA, states, n, tl.sum(dA_n, 1))
        dB = _weight_gradient(grads.B, dB, dB_n, states, n, sizes, program, columns, has_step, CONSTANT_B)
        dC = _weight_gradient(grads.C, dC, dC_n, states, n, sizes, program, columns, has_step, CONSTANT_C)
        carry = place(carry, states, n, tl.sum(tl.where((steps == index * BLOCK_T)[None, :], dh, 0.0), 1))
    sums = (y, du, ddelta)
    dD_here, dbias_here = _store_tokens(inputs, strides, dout, grads, sizes, program, columns, has_step, sums, SOFTPLUS)
    return carry, dA, dB, dC, dD + dD_here, dbias + dbias_here


@triton.jit
def backward_kernel(
    inputs,
    strides,
    dout,
    bounds,
    starts,
    grads,
    sizes,
    SOFTPLUS: tl.constexpr,
    ZOH: tl.constexpr,
    CONSTANT_B: tl.constexpr,
    CONSTANT_C: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Grid (B G, channel blocks, spans).

    ``bounds``: states before the tiles; ``starts``: (B, G, spans, E, N), the gradient of the state at the first token
    after each span, or None: 0.
    """
    program = this_program(sizes, BLOCK_E)
    sample, group, _, _ = program
    _, cells, has_cell = state_cells(sizes, program, BLOCK_N)
    span = tl.program_id(2)
    carry = tl.zeros((BLOCK_E, BLOCK_N), tl.float32)
    dA, dB, dC = carry, carry, carry
    dD = tl.zeros((BLOCK_E,), tl.float32)
    dbias = dD
    if starts is not None:
        part = (sample * sizes.groups + group) * sizes.spans + span
        carry = tl.load(starts + part * (sizes.channels * sizes.states) + cells, mask=has_cell, other=0.0)
    first = span * sizes.per_span
    end = tl.minimum(first + sizes.per_span, sizes.tiles)
    for back in range(end - first):
        totals = (carry, dA, dB, dC, dD, dbias)
        carry, dA, dB, dC, dD, dbias = _one_tile(
            inputs,
            strides,
            dout,
            bounds,
            grads,
            sizes,
            program,
            end - 1 - back,
            totals,
            SOFTPLUS,
            ZOH,
            CONSTANT_B,
            CONSTANT_C,
            BLOCK_E,
            BLOCK_T,
            BLOCK_N,
        )
    _store_totals(inputs, grads, sizes, program, dA, dB, dC, dD, dbias, CONSTANT_B, CONSTANT_C, BLOCK_N)
