"""Vector functions of the kernels: exponential, softplus, sigmoid. Relative error at most about 3e-7 each.

``2^x`` is split into an integer, found by adding and subtracting ``1.5 2^23``, and a rest ``f`` in [-0.5, 0.5] for
which ``2^f - 1 = f q(f)`` with a polynomial ``q`` of degree 4. The error of ``2^x`` therefore vanishes with ``x``,
and long products of factors close to 1 stay exact. ``float32`` turns every coefficient into a constant of the machine
code.
"""

from __future__ import annotations

from numba import float32, njit

from .vector import maximum, minimum, multiply_add, scale_by_power_of_two, select_less, splat

__all__ = [
    "HIGHEST_FINITE",
    "LOG2_E",
    "LOWEST",
    "exp2",
    "exp2_minus_one",
    "inline",
    "moderate_exp2",
    "moderate_exp2_minus_one",
    "one_minus_exp",
    "sigmoid",
    "softplus",
    "weight_slope",
]

inline = njit(forceinline=True, error_model="numpy", nogil=True)

LOG2_E = 1.4426950408889634
SHIFT = 12582912.0  # 1.5 * 2^23: the sum with it keeps the rounded integer in its last bits
LOWEST = -126.0  # 2^-126 is the smallest normal number
HIGHEST = 128.0  # gives infinity
HIGHEST_FINITE = 127.0


@inline
def constant(number):
    """The same number in every lane."""
    return splat(float32(number))


@inline
def _rest(f):
    """``2^f - 1`` for f in [-0.5, 0.5] (least maximum relative error of ``2^f``: 9e-8)."""
    q = constant(0.001326472731307149) * f + constant(0.009671512991189957)
    q = q * f + constant(0.05550733581185341)
    q = q * f + constant(0.24022242426872253)
    return (q * f + constant(0.6931470036506653)) * f


@inline
def _split(x, y):
    """``x y = i + f`` with an integer ``i``: ``1.5 2^23 + i``, which holds it in its last bits, and ``f``."""
    shifted = multiply_add(x, y, constant(SHIFT))
    return shifted, multiply_add(x, y, constant(SHIFT) - shifted)


@inline
def _clamped(x, highest):
    return minimum(maximum(x, constant(LOWEST)), constant(highest))


@inline
def moderate_exp2(x, y):
    """``2^(x y)`` for a product between -126 and 127; NaN stays NaN."""
    shifted, f = _split(x, y)
    return scale_by_power_of_two(_rest(f) + constant(1.0), shifted)


@inline
def moderate_exp2_minus_one(x, y):
    """``2^(x y) - 1`` for a product between -126 and 127, without the cancellation of a difference."""
    shifted, f = _split(x, y)
    p = scale_by_power_of_two(constant(1.0), shifted)
    return multiply_add(p, _rest(f), p - constant(1.0))


@inline
def exp2(x, y):
    """``2^(x y)``; 0 below is 2^-126, overflow is infinity, NaN stays NaN."""
    return moderate_exp2(_clamped(x * y, HIGHEST), constant(1.0))


@inline
def exp2_minus_one(x, y):
    """``2^(x y) - 1``; the largest result is 2^127."""
    return moderate_exp2_minus_one(_clamped(x * y, HIGHEST_FINITE), constant(1.0))


@inline
def one_minus_exp(x):
    """``1 - exp(-x)``: the derivative of softplus, from its value ``x``."""
    return constant(0.0) - exp2_minus_one(x, constant(-LOG2_E))


@inline
def sigmoid(x):
    """``1 / (1 + exp(-x))``."""
    return constant(1.0) / (constant(1.0) + exp2(x, constant(-LOG2_E)))


@inline
def softplus(x):
    """``log(1 + exp(x)) = max(x, 0) + 2 artanh(w / (2 + w))`` with ``w = exp(-|x|)``."""
    magnitude = maximum(x, constant(0.0) - x)
    w = exp2(magnitude, constant(-LOG2_E))
    s = w / (w + constant(2.0))
    s2 = s * s
    artanh = constant(0.1408916711807251) * s2 + constant(0.13980300724506378)
    artanh = artanh * s2 + constant(0.20012454688549042)
    artanh = artanh * s2 + constant(0.3333315849304199)
    artanh = (artanh * s2 + constant(1.0)) * s
    return maximum(x, constant(0.0)) + artanh + artanh


@inline
def weight_slope(delta, a, a_inverse, growth, reach):
    """Derivative by ``A`` of the zero-order weight ``w = growth / A`` with ``growth = exp(delta A) - 1``.

    It is ``(delta exp(delta A) - w) / A``. Where that cancels, in the lanes whose largest ``|delta A|``, ``reach``, is
    below 1/4, it is taken as ``delta^2`` times a polynomial in ``delta A`` (relative error at most 2e-7).
    """
    x = delta * a
    series = constant(0.006938634027) * x + constant(0.03342623399)
    series = series * x + constant(0.125000998)
    series = series * x + constant(0.333331888)
    series = series * x + constant(0.4999999906)
    direct = multiply_add(delta, growth, delta) - growth * a_inverse
    return select_less(reach, constant(0.25), series * (delta * delta), direct * a_inverse)
