"""What a tile of tokens can go through: rows of numbers, one row a channel, vectors along the tokens.

A tile has ``vectors`` registers of tokens. ``row`` is the size of a row in bytes. Every function reads and writes rows
in scratch memory; its gradient adds to what is there. ``partial`` sums keep the lanes apart; the launch adds them up.
"""

from __future__ import annotations

from numba import float32, njit

from ..backends.native.maths import constant, inline, sigmoid
from ..backends.native.vector import ROW, fold_four, load, splat, splat_at, splat_bits, square_root, store

__all__ = [
    "add_rows",
    "clear",
    "linear",
    "linear_bias_gradient",
    "linear_weight_gradient",
    "multiply_add_rows",
    "multiply_rows",
    "normalize",
    "normalize_gradient",
    "silu",
    "silu_gradient",
]

kernel = njit(error_model="numpy", nogil=True)


@kernel
def clear(target, size):
    """Zeros in ``size`` bytes."""
    for at in range(0, size, ROW):
        store(target + at, constant(0.0))


@kernel
def add_rows(target, a, b, size):
    """``target = a + b``."""
    for at in range(0, size, ROW):
        store(target + at, load(a + at) + load(b + at))


@kernel
def multiply_rows(target, a, b, size):
    """``target = a b``."""
    for at in range(0, size, ROW):
        store(target + at, load(a + at) * load(b + at))


@kernel
def multiply_add_rows(target, a, b, size):
    """``target += a b``."""
    for at in range(0, size, ROW):
        store(target + at, load(target + at) + load(a + at) * load(b + at))


@kernel
def silu(target, x, size):
    """``target = x sigmoid(x)``."""
    for at in range(0, size, ROW):
        value = load(x + at)
        store(target + at, value * sigmoid(value))


@kernel
def silu_gradient(target, x, gradient, size):
    """``target += gradient d silu(x) / dx``."""
    one = constant(1.0)
    for at in range(0, size, ROW):
        value = load(x + at)
        s = sigmoid(value)
        store(target + at, load(target + at) + load(gradient + at) * s * (one + value * (one - s)))


@inline
def _pair(address):
    return load(address), load(address + ROW)


@inline
def _put(address, pair):
    store(address, pair[0])
    store(address + ROW, pair[1])


@kernel
def _four_outputs(y, y_row, x, x_row, inputs, weight, out_step, in_step, a):
    """Adds ``weight x`` to four rows ``a``, two registers wide, and stores them."""
    (a0, b0), (a1, b1), (a2, b2), (a3, b3) = a
    w0, w1 = weight, weight + out_step
    w2, w3 = weight + 2 * out_step, weight + 3 * out_step
    at = 0
    for _ in range(inputs):
        x0, x1 = load(x), load(x + ROW)
        w = splat_at(w0 + at)
        a0, b0 = a0 + w * x0, b0 + w * x1
        w = splat_at(w1 + at)
        a1, b1 = a1 + w * x0, b1 + w * x1
        w = splat_at(w2 + at)
        a2, b2 = a2 + w * x0, b2 + w * x1
        w = splat_at(w3 + at)
        a3, b3 = a3 + w * x0, b3 + w * x1
        x += x_row
        at += in_step
    _put(y, (a0, b0))
    _put(y + y_row, (a1, b1))
    _put(y + 2 * y_row, (a2, b2))
    _put(y + 3 * y_row, (a3, b3))


@kernel
def _one_output(y, x, x_row, inputs, weight, in_step, a):
    a0, b0 = a
    for _ in range(inputs):
        w = splat_at(weight)
        a0, b0 = a0 + w * load(x), b0 + w * load(x + ROW)
        x += x_row
        weight += in_step
    _put(y, (a0, b0))


@kernel
def linear(y, y_row, outputs, x, x_row, inputs, weight, out_step, in_step, bias, accumulate, vectors):
    """``y = weight x + bias``, or ``y += weight x``; steps in bytes, ``bias`` may be 0."""
    zero = constant(0.0)
    for v in range(0, vectors, 2):
        shift = v * ROW
        o = 0
        while o + 4 <= outputs:
            target = y + o * y_row + shift
            if accumulate:
                a = _pair(target), _pair(target + y_row), _pair(target + 2 * y_row), _pair(target + 3 * y_row)
            elif bias != 0:
                s0, s1 = splat_at(bias + 4 * o), splat_at(bias + 4 * o + 4)
                s2, s3 = splat_at(bias + 4 * o + 8), splat_at(bias + 4 * o + 12)
                a = (s0, s0), (s1, s1), (s2, s2), (s3, s3)
            else:
                a = (zero, zero), (zero, zero), (zero, zero), (zero, zero)
            _four_outputs(target, y_row, x + shift, x_row, inputs, weight + o * out_step, out_step, in_step, a)
            o += 4
        while o < outputs:
            target = y + o * y_row + shift
            pair = (zero, zero)
            if accumulate:
                pair = _pair(target)
            elif bias != 0:
                s0 = splat_at(bias + 4 * o)
                pair = (s0, s0)
            _one_output(target, x + shift, x_row, inputs, weight + o * out_step, in_step, pair)
            o += 1


@kernel
def linear_bias_gradient(partial, gradient, row, outputs, vectors):
    """Sums over the tokens, lanes apart: ``partial (outputs, LANES)``."""
    for o in range(outputs):
        total = load(partial + o * ROW)
        for v in range(vectors):
            total = total + load(gradient + o * row + v * ROW)
        store(partial + o * ROW, total)


@kernel
def linear_weight_gradient(partial, gradient, g_row, outputs, x, x_row, inputs, vectors):
    """``partial (outputs, inputs / 4 rounded up, LANES)``: lane ``k`` holds a part of the sum of input ``k % 4``."""
    blocks = (inputs + 3) // 4
    for o in range(0, outputs, 2):
        two = o + 1 < outputs
        g0 = gradient + o * g_row
        g1 = g0 + g_row * two
        for block in range(blocks):
            i = 4 * block
            x0 = x + i * x_row
            x1 = x0 + x_row * (i + 1 < inputs)
            x2 = x0 + 2 * x_row * (i + 2 < inputs)
            x3 = x0 + 3 * x_row * (i + 3 < inputs)
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = constant(0.0)
            for v in range(0, vectors * ROW, ROW):
                p, q = load(g0 + v), load(g1 + v)
                k0, k1, k2, k3 = load(x0 + v), load(x1 + v), load(x2 + v), load(x3 + v)
                a0, a1, a2, a3 = a0 + p * k0, a1 + p * k1, a2 + p * k2, a3 + p * k3
                b0, b1, b2, b3 = b0 + q * k0, b1 + q * k1, b2 + q * k2, b3 + q * k3
            to = partial + (o * blocks + block) * ROW
            store(to, load(to) + fold_four(a0, a1, a2, a3))
            if two:
                to += blocks * ROW
                store(to, load(to) + fold_four(b0, b1, b2, b3))


@inline
def _statistics(x, row, channels, epsilon):
    """Mean and reciprocal standard deviation over the channels, a register of tokens at a time."""
    per = splat(float32(1.0 / channels))
    total = constant(0.0)
    for c in range(channels):
        total = total + load(x + c * row)
    mean = total * per
    total = constant(0.0)
    for c in range(channels):
        d = load(x + c * row) - mean
        total = total + d * d
    return mean, constant(1.0) / square_root(total * per + epsilon)


@kernel
def normalize(y, y_row, x, x_row, channels, weight, bias, epsilon, vectors):
    """Layer normalization over the channels; ``weight`` and ``bias`` may be 0; ``epsilon``: the bits of a number."""
    small = splat_bits(epsilon)
    for v in range(0, vectors * ROW, ROW):
        mean, scale = _statistics(x + v, x_row, channels, small)
        for c in range(channels):
            value = (load(x + c * x_row + v) - mean) * scale
            if weight != 0:
                value = value * splat_at(weight + 4 * c)
            if bias != 0:
                value = value + splat_at(bias + 4 * c)
            store(y + c * y_row + v, value)


@kernel
def normalize_gradient(dx, dx_row, x, x_row, dy, dy_row, channels, weight, epsilon, to_weight, to_bias, vectors):
    """Adds to ``dx`` and to the partial sums ``to_weight``, ``to_bias (channels, LANES)``, which may be 0."""
    small = splat_bits(epsilon)
    per = splat(float32(1.0 / channels))
    for v in range(0, vectors * ROW, ROW):
        mean, scale = _statistics(x + v, x_row, channels, small)
        plain, along = constant(0.0), constant(0.0)
        for c in range(channels):
            normal = (load(x + c * x_row + v) - mean) * scale
            g = load(dy + c * dy_row + v)
            if to_weight != 0:
                store(to_weight + c * ROW, load(to_weight + c * ROW) + g * normal)
            if to_bias != 0:
                store(to_bias + c * ROW, load(to_bias + c * ROW) + g)
            if weight != 0:
                g = g * splat_at(weight + 4 * c)
            plain = plain + g
            along = along + g * normal
        plain, along = plain * per, along * per
        for c in range(channels):
            normal = (load(x + c * x_row + v) - mean) * scale
            g = load(dy + c * dy_row + v)
            if weight != 0:
                g = g * splat_at(weight + 4 * c)
            at = dx + c * dx_row + v
            store(at, load(at) + scale * (g - plain - normal * along))
