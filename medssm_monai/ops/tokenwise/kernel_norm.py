"""Layer normalization of a tile of tokens over the channels. Rows as in :mod:`.kernel_math`, two registers at a time.

``statistics``: two rows, the mean and the reciprocal standard deviation of every token; the gradient finds them there.
"""

from __future__ import annotations

from numba import float32, njit

from ..backends.native.maths import constant
from ..backends.native.vector import ROW, load, splat, splat_at, splat_bits, square_root, store

__all__ = ["find_statistics", "normalize", "normalize_gradient"]

kernel = njit(error_model="numpy", nogil=True)


@kernel
def find_statistics(statistics, x, row, channels, epsilon, vectors):
    """``epsilon``: the bits of a number."""
    one, per, small = constant(1.0), splat(float32(1.0 / channels)), splat_bits(epsilon)
    deviations = statistics + vectors * ROW
    for v in range(0, vectors * ROW, 2 * ROW):
        a = b = constant(0.0)
        at = x + v
        first_a, first_b = load(at), load(at + ROW)  # from which all are measured: equal channels have no deviation
        for _ in range(channels):
            a, b = a + (load(at) - first_a), b + (load(at + ROW) - first_b)
            at += row
        mean_a, mean_b = first_a + a * per, first_b + b * per
        store(statistics + v, mean_a)
        store(statistics + v + ROW, mean_b)
        a = b = constant(0.0)
        at = x + v
        for _ in range(channels):
            p, q = load(at) - mean_a, load(at + ROW) - mean_b
            a, b = a + p * p, b + q * q
            at += row
        store(deviations + v, one / square_root(a * per + small))
        store(deviations + v + ROW, one / square_root(b * per + small))


@kernel
def normalize(y, y_row, x, x_row, statistics, channels, weight, bias, vectors):
    """``weight`` and ``bias`` may be 0."""
    deviations = statistics + vectors * ROW
    for v in range(0, vectors * ROW, 2 * ROW):
        mean_a, mean_b = load(statistics + v), load(statistics + v + ROW)
        scale_a, scale_b = load(deviations + v), load(deviations + v + ROW)
        source, target = x + v, y + v
        for c in range(0, 4 * channels, 4):
            a, b = (load(source) - mean_a) * scale_a, (load(source + ROW) - mean_b) * scale_b
            if weight != 0:
                w = splat_at(weight + c)
                a, b = a * w, b * w
            if bias != 0:
                w = splat_at(bias + c)
                a, b = a + w, b + w
            store(target, a)
            store(target + ROW, b)
            source += x_row
            target += y_row


@kernel
def normalize_gradient(dx, x, x_row, dy, dy_row, statistics, channels, weight, accumulate, to_weight, to_bias, vectors):
    """Of ``x``; and added to the partial sums ``to_weight``, ``to_bias (channels, LANES)``, which may be 0."""
    per = splat(float32(1.0 / channels))
    deviations = statistics + vectors * ROW
    for v in range(0, vectors * ROW, 2 * ROW):
        mean_a, mean_b = load(statistics + v), load(statistics + v + ROW)
        scale_a, scale_b = load(deviations + v), load(deviations + v + ROW)
        plain_a = plain_b = along_a = along_b = constant(0.0)
        source, gradient = x + v, dy + v
        for c in range(channels):
            a, b = (load(source) - mean_a) * scale_a, (load(source + ROW) - mean_b) * scale_b
            p, q = load(gradient), load(gradient + ROW)
            if to_weight != 0:
                at = to_weight + c * ROW
                store(at, load(at) + (p * a + q * b))
            if to_bias != 0:
                at = to_bias + c * ROW
                store(at, load(at) + (p + q))
            if weight != 0:
                w = splat_at(weight + 4 * c)
                p, q = p * w, q * w
            plain_a, plain_b = plain_a + p, plain_b + q
            along_a, along_b = along_a + p * a, along_b + q * b
            source += x_row
            gradient += dy_row
        plain_a, plain_b = plain_a * per, plain_b * per
        along_a, along_b = along_a * per, along_b * per
        source, gradient, target = x + v, dy + v, dx + v
        for c in range(channels):
            a, b = (load(source) - mean_a) * scale_a, (load(source + ROW) - mean_b) * scale_b
            p, q = load(gradient), load(gradient + ROW)
            if weight != 0:
                w = splat_at(weight + 4 * c)
                p, q = p * w, q * w
            p, q = scale_a * (p - plain_a - a * along_a), scale_b * (q - plain_b - b * along_b)
            if accumulate:
                p, q = load(target) + p, load(target + ROW) + q
            store(target, p)
            store(target + ROW, q)
            source += x_row
            gradient += dy_row
            target += x_row
