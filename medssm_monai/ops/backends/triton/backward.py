"""The backward pass: tiles from last to first, states recomputed from those kept before each tile."""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from .arguments import part, pick, place, positions, step_size, tile, weight
from .maths import compose, exp, hold, hold_slope, sigmoid

__all__ = ["Gradients", "backward_kernel"]


class Gradients(NamedTuple):
    """Contiguous results. What several programs contribute to has an axis of their shares, summed afterwards."""

    u: Tensor  # (B, G, E, L)
    delta: Tensor  # (B, G, E, L)
    z: Tensor | None  # (B, G, E, L)
    A: Tensor  # (B, G, spans, E, N)
    B: Tensor  # (B, G, channel blocks, N, L), or as A where B is constant
    C: Tensor  # as B
    D: Tensor | None  # (B, G, spans, E)
    bias: Tensor | None  # (B, G, spans, E)


@triton.jit
def _store_weight(pointer, value, pair, blocks, sizes, n, columns, has_step):
    """Sum over this program's channels of (E, T), as row ``n`` of its share."""
    share = (pair * blocks + tl.program_id(1)) * sizes.states + n
    tl.store(pointer + share * sizes.length + columns, tl.sum(value, 0), mask=has_step)


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
    """Grid (spans, channel blocks, B G). ``bounds``: states before the tiles; ``starts``: (B, G, spans, E, N), the
    gradient of the state at the first token after each span, or None: 0."""
    sample, group, rows, states, has_row = part(sizes, BLOCK_E, BLOCK_N)
    pair = sample * sizes.groups + group
    channel = group * sizes.channels + rows
    cells = rows[:, None] * sizes.states + states[None, :]
    has_cell = has_row[:, None] & (states[None, :] < sizes.states)
    block = sizes.channels * sizes.states
    span = tl.program_id(0)
    local = tl.arange(0, BLOCK_T)
    carry = tl.zeros((BLOCK_E, BLOCK_N), tl.float32)
    dA, dB_all, dC_all = carry, carry, carry
    dD = tl.zeros((BLOCK_E,), tl.float32)
    dbias = dD
    if starts is not None:
        carry = tl.load(starts + (pair * sizes.spans + span) * block + cells, mask=has_cell, other=0.0)
    bias = None
    if inputs.bias is not None:
        bias = tl.load(inputs.bias + channel, mask=has_row, other=0.0).to(tl.float32)
    first = span * sizes.per_span
    end = tl.minimum(first + sizes.per_span, sizes.tiles)
    for back in range(end - first):
        index = end - 1 - back
        steps = index * BLOCK_T + local
        has_step = steps < sizes.length
        kept = has_row[:, None] & has_step[None, :]
        columns = positions(inputs, sizes, group, steps, has_step)
        u = tile(inputs.u, strides.u, sample, group, rows, columns, kept)
        raw = tile(inputs.delta, strides.delta, sample, group, rows, columns, kept)
        delta, raw = step_size(raw, bias, kept, SOFTPLUS)
        after = steps + 1 < sizes.length
        has_next = has_row[:, None] & after[None, :]
        next_columns = positions(inputs, sizes, group, steps + 1, after)
        later = tile(inputs.delta, strides.delta, sample, group, rows, next_columns, has_next)
        later, _ = step_size(later, bias, has_next, SOFTPLUS)
        dy = tile(dout, strides.dout, sample, group, rows, columns, kept)
        if inputs.z is not None:
            z = tile(inputs.z, strides.z, sample, group, rows, columns, kept)
            gated, gate = dy, sigmoid(z)
            dy *= z * gate
        y = tl.zeros((BLOCK_E, BLOCK_T), tl.float32)
        du, ddelta = y, y
        for n in range(sizes.states):
            A = tl.load(inputs.A + channel * sizes.states + n, mask=has_row, other=0.0).to(tl.float32)
            B = weight(inputs.B, strides.B, sample, group, n, rows, columns, has_row, has_step, CONSTANT_B)
            C = weight(inputs.C, strides.C, sample, group, n, rows, columns, has_row, has_step, CONSTANT_C)
            where = bounds + (pair * sizes.tiles + index) * block + rows * sizes.states + n
            x = delta * A[:, None]
            decay = exp(x)
            factor = delta
            if ZOH:
                factor = delta * hold(x, decay)
            gained = factor * B * u
            decays, h = tl.associative_scan((decay, gained), 1, compose)
            h += decays * tl.load(where, mask=has_row, other=0.0)[:, None]
            y += C * h
            # gradient of the state: what this token's output says, and what comes back from the next token
            decays, dh = tl.associative_scan((exp(later * A[:, None]), C * dy), 1, compose, reverse=True)
            dh += decays * pick(carry, states, n)[:, None]
            carry = place(carry, states, n, tl.sum(tl.where(local[None, :] == 0, dh, 0.0), 1))
            kept_part = h - gained  # decay times the state before: no division, no second scan
            du += dh * factor * B
            dA_n = dh * delta * kept_part
            if ZOH:
                ddelta += dh * (A[:, None] * kept_part + decay * B * u)
                dA_n += dh * delta * delta * hold_slope(x, decay) * B * u
            else:
                ddelta += dh * (A[:, None] * kept_part + B * u)
            dA = place(dA, states, n, pick(dA, states, n) + tl.sum(dA_n, 1))
            if CONSTANT_B:
                dB_all = place(dB_all, states, n, pick(dB_all, states, n) + tl.sum(dh * factor * u, 1))
            else:
                _store_weight(grads.B, dh * factor * u, pair, tl.num_programs(1), sizes, n, columns, has_step)
            if CONSTANT_C:
                dC_all = place(dC_all, states, n, pick(dC_all, states, n) + tl.sum(dy * h, 1))
            else:
                _store_weight(grads.C, dy * h, pair, tl.num_programs(1), sizes, n, columns, has_step)
        target = (pair * sizes.channels + rows)[:, None] * sizes.length + columns[None, :]
        if inputs.D is not None:
            D = tl.load(inputs.D + channel, mask=has_row, other=0.0).to(tl.float32)
            y += D[:, None] * u
            du += D[:, None] * dy
            dD += tl.sum(dy * u, 1)
        if inputs.z is not None:
            tl.store(grads.z + target, gated * y * gate * (1.0 + z * (1.0 - gate)), mask=kept)
        if SOFTPLUS:
            ddelta *= sigmoid(raw)
        dbias += tl.sum(tl.where(kept, ddelta, 0.0), 1)
        tl.store(grads.u + target, du, mask=kept)
        tl.store(grads.delta + target, ddelta, mask=kept)
    share = (pair * sizes.spans + span) * sizes.channels
    cells += share * sizes.states
    tl.store(grads.A + cells, dA, mask=has_cell)
    if CONSTANT_B:
        tl.store(grads.B + cells, dB_all, mask=has_cell)
    if CONSTANT_C:
        tl.store(grads.C + cells, dC_all, mask=has_cell)
    if inputs.D is not None:
        tl.store(grads.D + share + rows, dD, mask=has_row)
    if inputs.bias is not None:
        tl.store(grads.bias + share + rows, dbias, mask=has_row)
