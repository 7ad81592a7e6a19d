"""Functions of one number, and the composition of scan steps, for the kernels.

Built on ``exp2`` alone, so that no target needs a device library, and accurate in relative terms where the textbook
formula cancels.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["compose", "exp", "hold", "hold_slope", "sigmoid", "softplus"]

LOG2E = tl.constexpr(1.4426950408889634)
SERIES_BELOW = tl.constexpr(0.5)  # |x|: nine terms of the series leave 1e-8 there, the closed form loses one digit


@triton.jit
def exp(x):
    """e^x."""
    return tl.exp2(x * LOG2E)


@triton.jit
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1.0 / (1.0 + tl.exp2(-x * LOG2E))


@triton.jit
def softplus(x):
    """log(1 + e^x) = max(x, 0) + log1p(e^-|x|), the logarithm as 2 artanh(e / (2 + e)): no cancellation for small e."""
    e = tl.exp2(-tl.abs(x) * LOG2E)
    s = e / (2.0 + e)  # at most 1/3
    q = s * s
    tail = 1 / 9 + q * (1 / 11 + q * (1 / 13 + q * (1 / 15)))
    return tl.maximum(x, 0.0) + 2.0 * s * (1.0 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * tail))))


@triton.jit
def hold(x, decay):
    """(e^x - 1) / x with ``decay`` = e^x; 1 at 0."""
    tail = 1 / 720 + x * (1 / 5040 + x * (1 / 40320 + x * (1 / 362880)))
    series = 1.0 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x * tail))))
    small = tl.abs(x) < SERIES_BELOW
    return tl.where(small, series, (decay - 1.0) / tl.where(small, 1.0, x))


@triton.jit
def hold_slope(x, decay):
    """Derivative of :func:`hold`: (x e^x - e^x + 1) / x^2 = sum_k x^k / (k! (k + 2)); 1/2 at 0."""
    tail = 1 / 840 + x * (1 / 5760 + x * (1 / 45360 + x * (1 / 403200)))
    series = 1 / 2 + x * (1 / 3 + x * (1 / 8 + x * (1 / 30 + x * (1 / 144 + x * tail))))
    small = tl.abs(x) < SERIES_BELOW
    safe = tl.where(small, 1.0, x)
    return tl.where(small, series, ((x - 1.0) * decay + 1.0) / (safe * safe))


@triton.jit
def compose(decay_1, input_1, decay_2, input_2):
    """Two steps ``h -> decay h + input`` as one."""
    return decay_1 * decay_2, decay_2 * input_1 + input_2
