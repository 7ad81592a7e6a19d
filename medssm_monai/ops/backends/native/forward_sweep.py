"""Forward sweep: one tile of tokens, ``STATES x LANES`` (state, channel) pairs in registers."""

from __future__ import annotations

from numba import float32, njit

from .maths import (
    HIGHEST_FINITE,
    LOG2_E,
    LOWEST,
    constant,
    exp2,
    exp2_minus_one,
    inline,
    moderate_exp2,
    moderate_exp2_minus_one,
)
from .records import STATES
from .tiles import DELTA, LIMITS, X, Y
from .vector import ROW, all_less, load, maximum, minimum, multiply_add, select_less, splat, splat_at, store

__all__ = [
    "DECAYS",
    "exponents",
    "four",
    "inverses",
    "is_moderate",
    "is_steep",
    "load_four",
    "load_rows",
    "reaches",
    "store_four",
    "sweep",
]

STEEP = 0.5
"""See :func:`is_steep`."""
DECAYS = {  # exp(delta A), with the zero-order hold exp(delta A) - 1; by hold and whether the exponent is moderate
    (False, False): exp2,
    (False, True): moderate_exp2,
    (True, False): exp2_minus_one,
    (True, True): moderate_exp2_minus_one,
}


@inline
def four(address, step):
    """Addresses of four rows."""
    return address, address + step, address + 2 * step, address + 3 * step


@inline
def load_four(address, step):
    """Registers at four addresses."""
    return load(address), load(address + step), load(address + 2 * step), load(address + 3 * step)


@inline
def store_four(address, step, rows):
    """Write four registers."""
    store(address, rows[0])
    store(address + step, rows[1])
    store(address + 2 * step, rows[2])
    store(address + 3 * step, rows[3])


@inline
def away_from_zero(a):
    """``a``, or 1e-20 where it is smaller than that: ``(exp(delta a) - 1) / a`` is then exactly its limit ``delta``."""
    return select_less(maximum(a, constant(0.0) - a), constant(1e-20), constant(1e-20), a)


@inline
def exponents(a):
    """Rows of ``A`` as factors of the step in exponents of 2."""
    e = constant(LOG2_E)
    return a[0] * e, a[1] * e, a[2] * e, a[3] * e


@inline
def inverses(a):
    """``1 / A`` of four rows."""
    one = constant(1.0)
    return one / a[0], one / a[1], one / a[2], one / a[3]


@inline
def load_rows(address, step):
    """Rows of ``A``."""
    a0, a1, a2, a3 = load_four(address, step)
    return away_from_zero(a0), away_from_zero(a1), away_from_zero(a2), away_from_zero(a3)


@njit(error_model="numpy", nogil=True)
def is_moderate(scratch, a_row, step):
    """Whether no exponent of the tile needs a bound: a whole tile's check saves two operations for each exponential."""
    low, high = load(scratch + LIMITS), load(scratch + LIMITS + ROW)
    least, greatest = constant(0.0), constant(0.0)
    for n in range(STATES):
        a = away_from_zero(load(a_row + n * step)) * constant(LOG2_E)
        x, y = low * a, high * a
        least = minimum(minimum(least, x), y)
        greatest = maximum(maximum(greatest, x), y)
    return all_less(constant(LOWEST + 1), least) and all_less(greatest, constant(HIGHEST_FINITE - 1))


@inline
def magnitude(x):
    """``|x|``."""
    return maximum(x, constant(0.0) - x)


@inline
def reaches(scratch, a):
    """The largest ``|delta A|`` of the tile, for four rows of ``A``."""
    step = maximum(magnitude(load(scratch + LIMITS)), magnitude(load(scratch + LIMITS + ROW)))
    return magnitude(step * a[0]), magnitude(step * a[1]), magnitude(step * a[2]), magnitude(step * a[3])


@njit(error_model="numpy", nogil=True)
def is_steep(count, scratch, a_row, step):
    """Whether in every row and lane the largest ``|delta A|`` of the tile times its tokens is above ``STEEP``.

    A state then remembers enough of its past that a term which cancels is small beside the others of ``dA``.
    """
    x = reaches(scratch, load_four(a_row, step))
    least = minimum(minimum(x[0], x[1]), minimum(x[2], x[3]))
    return all_less(constant(STEEP), least * splat(float32(count)))


def _make_sweep(zoh, scaled, moderate):
    """One tile for ``STATES`` rows of the state.

    ``scaled``: every (state, channel) has a factor on its output; ``moderate``: see :func:`is_moderate`.
    """
    exp = DECAYS[zoh, moderate]

    @inline
    def advance(h, delta, x, a, a_inverse, b):
        if zoh:
            return multiply_add(exp(delta, a), multiply_add(x * b, a_inverse, h), h)
        return multiply_add(exp(delta, a), h, x * b)

    @inline
    def read_out(y, h, c, k):
        if scaled:
            return y + h * c * k
        return y + h * c

    @njit(error_model="numpy", nogil=True)
    def sweep(count, scratch, a_row, h_row, k_row, step, b_row, c_row):
        natural = load_rows(a_row, step)
        a, a_inverse, k = exponents(natural), inverses(natural), natural
        h0, h1, h2, h3 = load_four(h_row, step)
        if scaled:
            k = load_four(k_row, step)
        b, c = four(b_row, 4), four(c_row, 4)
        for t in range(count):
            row = scratch + t * ROW
            delta, x, y = load(row + DELTA), load(row + X), load(row + Y)
            at = t * ROW
            h0 = advance(h0, delta, x, a[0], a_inverse[0], splat_at(b[0] + at))
            h1 = advance(h1, delta, x, a[1], a_inverse[1], splat_at(b[1] + at))
            h2 = advance(h2, delta, x, a[2], a_inverse[2], splat_at(b[2] + at))
            h3 = advance(h3, delta, x, a[3], a_inverse[3], splat_at(b[3] + at))
            y = read_out(y, h0, splat_at(c[0] + at), k[0])
            y = read_out(y, h1, splat_at(c[1] + at), k[1])
            y = read_out(y, h2, splat_at(c[2] + at), k[2])
            y = read_out(y, h3, splat_at(c[3] + at), k[3])
            store(row + Y, y)
        store_four(h_row, step, (h0, h1, h2, h3))

    return sweep


def _make_sweeps(zoh, scaled):
    quick, bounded = _make_sweep(zoh, scaled, True), _make_sweep(zoh, scaled, False)

    @njit(error_model="numpy", nogil=True)
    def sweep(count, scratch, a_row, h_row, k_row, step, b_row, c_row):
        if is_moderate(scratch, a_row, step):
            quick(count, scratch, a_row, h_row, k_row, step, b_row, c_row)
        else:
            bounded(count, scratch, a_row, h_row, k_row, step, b_row, c_row)

    return sweep


_sweep_euler, _sweep_euler_scaled = _make_sweeps(False, False), _make_sweeps(False, True)
_sweep_zoh, _sweep_zoh_scaled = _make_sweeps(True, False), _make_sweeps(True, True)


@njit(error_model="numpy", nogil=True)
def sweep(zoh, scaled, count, scratch, a_row, h_row, k_row, step, b_row, c_row):
    """The sweep over a tile in the variant that the call needs; adds to ``Y``.

    ``a_row``, ``h_row``, ``k_row``: addresses of ``A``, state and factors; ``step``: bytes between their rows;
    ``b_row``, ``c_row``: addresses of B and C.
    """
    if zoh and scaled:
        _sweep_zoh_scaled(count, scratch, a_row, h_row, k_row, step, b_row, c_row)
    elif zoh:
        _sweep_zoh(count, scratch, a_row, h_row, k_row, step, b_row, c_row)
    elif scaled:
        _sweep_euler_scaled(count, scratch, a_row, h_row, k_row, step, b_row, c_row)
    else:
        _sweep_euler(count, scratch, a_row, h_row, k_row, step, b_row, c_row)
