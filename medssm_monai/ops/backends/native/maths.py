"""Vector functions of the kernels: exponential, softplus, sigmoid. Relative error at most about 3e-7 each.

``2^x`` is split into an integer, found by adding and subtracting ``1.5 2^23``, and a rest ``f`` in [-0.5, 0.5] for
which ``2^f - 1 = f q(f)`` with a polynomial ``q`` of degree 4. The error of ``2^x`` therefore vanishes with ``x``,
and long products of factors close to 1 stay exact. ``float32`` turns every coefficient into a constant of the machine
code.
"""

from __future__ import annotations

from numba import float32, njit

from .vector import maximum, minimum, scale_by_power_of_two, select_less, splat

__all__ = ["LOG2_E", "exp2", "expm1_derivative", "inline", "one_minus_exp", "power_and_rest", "sigmoid", "softplus"]

inline = njit(forceinline=True, error_model="numpy", nogil=True)

LOG2_E = 1.4426950408889634
SHIFT = 12582912.0  # 1.5 * 2^23: the sum with it keeps the rounded integer in its last bits
LOWEST = -126.0  # 2^-126 is the smallest normal number
HIGHEST = 128.0  # gives infinity
HIGHEST_FINITE = 127.0


@inline
def constant(number):
    return splat(float32(number))


@inline
def _exp2_minus_one(f):
    """``2^f - 1`` for f in [-0.5, 0.5] (least maximum relative error of ``2^f``: 9e-8)."""
    q = constant(0.001326472731307149) * f + constant(0.009671512991189957)
    q = q * f + constant(0.05550733581185341)
    q = q * f + constant(0.24022242426872253)
    return (q * f + constant(0.6931470036506653)) * f


@inline
def exp2(x):
    """``2^x``; 0 below is 2^-126, overflow is infinity, NaN stays NaN."""
    x = minimum(maximum(x, constant(LOWEST)), constant(HIGHEST))
    shifted = x + constant(SHIFT)
    f = x - (shifted - constant(SHIFT))
    return scale_by_power_of_two(_exp2_minus_one(f) + constant(1.0), shifted)


@inline
def power_and_rest(x):
    """``p = 2^i`` and ``r = 2^f - 1`` with ``2^x = p (1 + r)``: ``2^x - 1 = p r + (p - 1)`` does not cancel."""
    x = minimum(maximum(x, constant(LOWEST)), constant(HIGHEST_FINITE))
    shifted = x + constant(SHIFT)
    f = x - (shifted - constant(SHIFT))
    return scale_by_power_of_two(constant(1.0), shifted), _exp2_minus_one(f)


@inline
def one_minus_exp(x):
    """``1 - exp(-x)``: the derivative of softplus, from its value ``x``."""
    p, r = power_and_rest(x * constant(-LOG2_E))
    return constant(0.0) - (p * r + (p - constant(1.0)))


@inline
def sigmoid(x):
    """``1 / (1 + exp(-x))``."""
    return constant(1.0) / (constant(1.0) + exp2(x * constant(-LOG2_E)))


@inline
def softplus(x):
    """``log(1 + exp(x)) = max(x, 0) + 2 artanh(w / (2 + w))`` with ``w = exp(-|x|)``."""
    magnitude = maximum(x, constant(0.0) - x)
    w = exp2(magnitude * constant(-LOG2_E))
    s = w / (w + constant(2.0))
    s2 = s * s
    artanh = constant(0.1408916711807251) * s2 + constant(0.13980300724506378)
    artanh = artanh * s2 + constant(0.20012454688549042)
    artanh = artanh * s2 + constant(0.3333315849304199)
    artanh = (artanh * s2 + constant(1.0)) * s
    return maximum(x, constant(0.0)) + artanh + artanh


@inline
def expm1_derivative(x, exp_x, expm1_x):
    """``(exp(x) - phi(x)) / x``, ``phi(x) = (exp(x) - 1) / x``: by series for ``|x| < 1``, where that cancels."""
    series = constant(2.184666e-05) * x + constant(0.00017851079)
    series = series * x + constant(0.00119137904)
    series = series * x + constant(0.00694147730)
    series = series * x + constant(0.0333327986)
    series = series * x + constant(0.12500056624)
    series = series * x + constant(0.33333340287)
    series = series * x + constant(0.49999997020)
    magnitude = maximum(x, constant(0.0) - x)
    safe = select_less(magnitude, constant(1.0), constant(1.0), x)
    return select_less(magnitude, constant(1.0), series, (exp_x - expm1_x / safe) / safe)
