"""What a tile of tokens can go through: rows of numbers, one row a channel, vectors along the tokens.

A tile has ``vectors`` registers of tokens, an even number. ``row`` is the size of a row in bytes. Every function reads
and writes rows in scratch memory; those of gradients write, or add to what is there. ``partial`` sums keep the lanes
apart; the launch adds them up. Here: numbers by themselves; :mod:`.kernel_linear`, :mod:`.kernel_norm`: the layers.
"""

from __future__ import annotations

from numba import njit

from ..backends.native.maths import constant, sigmoid
from ..backends.native.vector import ROW, load, store

__all__ = ["add_rows", "clear", "copy_rows", "multiply_add_rows", "multiply_rows", "silu", "silu_and_slope"]

kernel = njit(error_model="numpy", nogil=True)


@kernel
def clear(target, size):
    """Zeros in ``size`` bytes."""
    for at in range(0, size, ROW):
        store(target + at, constant(0.0))


@kernel
def copy_rows(target, a, size):
    """``target = a``."""
    for at in range(0, size, ROW):
        store(target + at, load(a + at))


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
def silu_and_slope(target, slope, x, size):
    """``target = x sigmoid(x)`` and its derivative."""
    one = constant(1.0)
    for at in range(0, size, ROW):
        value = load(x + at)
        s = sigmoid(value)
        store(target + at, value * s)
        store(slope + at, s * (one + value * (one - s)))
