"""Linear layers on a tile of tokens, and the sums that their gradients take.

Rows as in :mod:`.kernel_math`. A block of four outputs keeps eight sums in registers; where fewer are left, the last
one is computed more than once and written where it belongs, which costs less than a loop of its own.
"""

from __future__ import annotations

from numba import njit

from ..backends.native.blocks import fold_eight, transpose_block
from ..backends.native.maths import constant
from ..backends.native.vector import LANES, ROW, load, splat_at, store

__all__ = ["linear", "linear_bias_gradient", "linear_weight_gradient", "wide_weight_gradient"]

kernel = njit(error_model="numpy", nogil=True)


@kernel
def linear(y, y_row, outputs, x, x_row, x_next, inputs, weight, out_step, in_step, bias, accumulate, vectors):
    """``y = weight x + bias``, or ``y += weight x``; steps in bytes, ``bias`` may be 0.

    ``x_next``: from two registers of ``x`` to the next two, ``2 ROW`` if they lie side by side.
    """
    for o in range(0, outputs, 4):
        last = outputs - 1 - o
        k1, k2, k3 = min(1, last), min(2, last), min(3, last)
        first = weight + o * out_step
        w1, w2, w3 = k1 * out_step, k2 * out_step, k3 * out_step
        y0 = y + o * y_row
        y1, y2, y3 = y0 + k1 * y_row, y0 + k2 * y_row, y0 + k3 * y_row
        s0 = s1 = s2 = s3 = constant(0.0)
        if bias != 0:
            at = bias + 4 * o
            s0, s1, s2, s3 = splat_at(at), splat_at(at + 4 * k1), splat_at(at + 4 * k2), splat_at(at + 4 * k3)
        column = x
        for v in range(0, vectors * ROW, 2 * ROW):
            a0, a1, a2, a3 = s0, s1, s2, s3
            b0, b1, b2, b3 = s0, s1, s2, s3
            if accumulate:
                a0, a1, a2, a3 = load(y0 + v), load(y1 + v), load(y2 + v), load(y3 + v)
                u = v + ROW
                b0, b1, b2, b3 = load(y0 + u), load(y1 + u), load(y2 + u), load(y3 + u)
            w0 = first
            at = column
            column += x_next
            for _ in range(inputs):
                p, q = load(at), load(at + ROW)
                w = splat_at(w0)
                a0, b0 = a0 + w * p, b0 + w * q
                w = splat_at(w0 + w1)
                a1, b1 = a1 + w * p, b1 + w * q
                w = splat_at(w0 + w2)
                a2, b2 = a2 + w * p, b2 + w * q
                w = splat_at(w0 + w3)
                a3, b3 = a3 + w * p, b3 + w * q
                at += x_row
                w0 += in_step
            store(y0 + v, a0)
            store(y0 + v + ROW, b0)
            store(y1 + v, a1)
            store(y1 + v + ROW, b1)
            store(y2 + v, a2)
            store(y2 + v + ROW, b2)
            store(y3 + v, a3)
            store(y3 + v + ROW, b3)


@kernel
def linear_bias_gradient(partial, gradient, row, outputs, vectors):
    """Sums over the tokens, lanes apart: ``partial (outputs, LANES)``."""
    for o in range(outputs):
        a, b = load(partial + o * ROW), constant(0.0)
        g = gradient + o * row
        for v in range(0, vectors * ROW, 2 * ROW):
            a, b = a + load(g + v), b + load(g + v + ROW)
        store(partial + o * ROW, a + b)


@kernel
def linear_weight_gradient(partial, gradient, g_row, outputs, x, x_row, inputs, vectors):
    """Sums over the tokens of all products of outputs' gradients and inputs.

    ``partial (ceil(inputs / 4), ceil(outputs / 2), LANES)``: lane ``k`` holds a part of the sum of output
    ``k // 4 % 2`` of the two and input ``k % 4`` of the four.
    """
    to = partial
    for i in range(0, inputs, 4):
        last = inputs - 1 - i
        x0 = x + i * x_row
        x1, x2, x3 = x0 + x_row * min(1, last), x0 + x_row * min(2, last), x0 + x_row * min(3, last)
        for o in range(0, outputs, 2):
            g0 = gradient + o * g_row
            g1 = g0 + g_row * min(1, outputs - 1 - o)
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = constant(0.0)
            for v in range(0, vectors * ROW, ROW):
                p, q = load(g0 + v), load(g1 + v)
                k0, k1, k2, k3 = load(x0 + v), load(x1 + v), load(x2 + v), load(x3 + v)
                a0, a1, a2, a3 = a0 + p * k0, a1 + p * k1, a2 + p * k2, a3 + p * k3
                b0, b1, b2, b3 = b0 + q * k0, b1 + q * k1, b2 + q * k2, b3 + q * k3
            store(to, load(to) + fold_eight(a0, a1, a2, a3, b0, b1, b2, b3))
            to += ROW


@kernel
def wide_weight_gradient(partial, gradient, g_row, outputs, x, x_row, inputs, room, accumulate, vectors):
    """As :func:`linear_weight_gradient` for many inputs, a multiple of ``2 LANES``: ``partial (outputs, inputs)``.

    Added to what is there, or written.

    Here vectors run along the inputs, for which ``x`` is turned, into ``room``: no lanes are left to be summed.
    """
    tokens = vectors * LANES
    to = room
    for i in range(0, inputs, 2 * LANES):
        for v in range(0, vectors):
            source, target = x + i * x_row + v * ROW, to + v * LANES * 2 * ROW
            transpose_block(source, x_row, target, 2 * ROW)
            transpose_block(source + LANES * x_row, x_row, target + ROW, 2 * ROW)
        to += tokens * 2 * ROW
    step, across = 4 * inputs, inputs // LANES
    linear(partial, step, outputs, room, 2 * ROW, tokens * 2 * ROW, tokens, gradient, g_row, 4, 0, accumulate, across)
