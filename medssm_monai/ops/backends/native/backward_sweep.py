"""Backward sweeps: one tile of tokens, ``STATES x LANES`` (state, channel) pairs in registers.

The states of the tile are computed again from the state at its beginning (``replay``); then the gradient of the state
runs from the last token to the first (``pull_back``)::

    dh[t] = dh[t+1] a[t+1] + C[t] dy[t]
    dC[t] += h[t] dy[t]               dB[t] += dh[t] w[t] u[t]
    dA    += dh[t] (delta[t] a[t] h[t-1] + dw/dA B[t] u[t])
    ddelta[t] += dh[t] (A a[t] h[t-1] + dw/ddelta B[t] u[t])        du[t] += dh[t] w[t] B[t]

with ``a = exp(delta A)``; Euler: ``w = delta``; zero-order hold: ``w = (a - 1) / A``, ``dw/ddelta = a``.

For the hold, ``a - 1`` alone is kept of every token. With ``v = a dh[t] (A h[t-1] + B[t] u[t])``::

    ddelta[t] += v        dA += (delta[t] v - dh[t] w[t] B[t] u[t]) / A

where that difference does not cancel (:func:`.forward_sweep.is_steep`); else the formula above.
"""

from __future__ import annotations

from numba import njit

from .blocks import fold_four
from .forward_sweep import (
    DECAYS,
    exponents,
    four,
    inverses,
    is_moderate,
    is_steep,
    load_four,
    load_rows,
    reaches,
    store_four,
)
from .maths import constant, inline, weight_slope
from .records import STATES
from .tiles import DECAY, DELTA, DS, DY, H, P, X
from .vector import ROW, load, multiply_add, splat_at, store

__all__ = ["sweeps"]


def _make_replay(zoh, moderate):
    exp = DECAYS[zoh, moderate]

    @inline
    def advance(h, delta, x, a, a_inverse, b, address):
        store(address + H, h)
        decay = exp(delta, a)
        store(address + DECAY, decay)
        if zoh:
            return multiply_add(decay, multiply_add(x * b, a_inverse, h), h)
        return multiply_add(decay, h, x * b)

    @njit(error_model="numpy", nogil=True)
    def replay(count, scratch, a_row, h_row, step, b_row):
        natural = load_rows(a_row, step)
        a, a_inverse = exponents(natural), inverses(natural)
        h0, h1, h2, h3 = load_four(h_row, step)
        b = four(b_row, 4)
        for t in range(count):
            row = scratch + t * ROW
            address = scratch + STATES * t * ROW
            delta, x = load(row + DELTA), load(row + X)
            at = t * ROW
            h0 = advance(h0, delta, x, a[0], a_inverse[0], splat_at(b[0] + at), address)
            h1 = advance(h1, delta, x, a[1], a_inverse[1], splat_at(b[1] + at), address + ROW)
            h2 = advance(h2, delta, x, a[2], a_inverse[2], splat_at(b[2] + at), address + 2 * ROW)
            h3 = advance(h3, delta, x, a[3], a_inverse[3], splat_at(b[3] + at), address + 3 * ROW)
        store_four(scratch + STATES * count * ROW + H, ROW, (h0, h1, h2, h3))

    return replay


def _make_replays(zoh):
    quick, bounded = _make_replay(zoh, True), _make_replay(zoh, False)

    @njit(error_model="numpy", nogil=True)
    def replay(count, scratch, a_row, h_row, step, b_row):
        if is_moderate(scratch, a_row, step):
            quick(count, scratch, a_row, h_row, step, b_row)
        else:
            bounded(count, scratch, a_row, h_row, step, b_row)

    return replay


def _make_pull(zoh, steep, scaled):
    @inline
    def pull(sums, a, a_inverse, k, reach, b_address, c_address, tile, address):
        """One state row, one token.

        Returns the gradients of state, ``A`` and factor, the token's vectors, and what the lanes add to dB and dC.
        """
        dh, da, dk = sums
        delta, x, dy, p, s = tile
        b, c = splat_at(b_address), splat_at(c_address)
        decay, h = load(address + DECAY), load(address + H + STATES * ROW)
        dyk = dy
        if scaled:
            dyk = dy * k
            dk = dk + c * h * dy
        dh = multiply_add(c, dyk, dh)
        to_c = h * dyk
        h = load(address + H)
        if not zoh:
            before = dh * decay
            gh = before * h
            da = multiply_add(gh, delta, da)
            p = multiply_add(gh, a, p)
            return (before, da, dk), (delta, x, dy, p, multiply_add(dh, b, s)), dh * x, to_c
        bx, change = b * x, dh * decay
        before = dh + change
        dw = change * a_inverse
        to_b = dw * x
        s = multiply_add(dw, b, s)
        gh = before * multiply_add(a, h, bx)
        p = p + gh
        if steep:
            da = multiply_add(gh, delta, da) - dw * bx
        else:
            slope = weight_slope(delta, a, a_inverse, decay, reach)
            da = multiply_add(before * h, delta, multiply_add(dh * bx, slope, da))
        return (before, da, dk), (delta, x, dy, p, s), to_b, to_c

    return pull


def _make_pull_back(zoh, steep, scaled):
    pull = _make_pull(zoh, steep, scaled)

    @inline
    def start(grads, row, step):
        da, dk = constant(0.0), constant(0.0)
        if scaled:
            dk = load(grads[2] + row * step)
        return load(grads[0] + row * step), da, dk

    @inline
    def finish(grads, row, step, sums, a_inverse):
        da = sums[1]
        if steep:
            da = da * a_inverse
        store(grads[0] + row * step, sums[0])
        store(grads[1] + row * step, load(grads[1] + row * step) + da)
        if scaled:
            store(grads[2] + row * step, sums[2])

    @njit(error_model="numpy", nogil=True)
    def pull_back(count, scratch, acc, rows, step, b_row, c_row):
        _, a_row, k_row, grads = rows
        a = load_rows(a_row, step)
        a_inverse, k = inverses(a), a
        if scaled:
            k = load_four(k_row, step)
        reach = reaches(scratch, a) if zoh and not steep else a
        s0, s1, s2, s3 = start(grads, 0, step), start(grads, 1, step), start(grads, 2, step), start(grads, 3, step)
        for i in range(count):
            t = count - 1 - i
            row, address = scratch + t * ROW, scratch + STATES * t * ROW
            b, c = four(b_row + t * ROW, 4), four(c_row + t * ROW, 4)
            v = (load(row + DELTA), load(row + X), load(row + DY), load(row + P), load(row + DS))
            s0, v, b0, c0 = pull(s0, a[0], a_inverse[0], k[0], reach[0], b[0], c[0], v, address)
            s1, v, b1, c1 = pull(s1, a[1], a_inverse[1], k[1], reach[1], b[1], c[1], v, address + ROW)
            s2, v, b2, c2 = pull(s2, a[2], a_inverse[2], k[2], reach[2], b[2], c[2], v, address + 2 * ROW)
            s3, v, b3, c3 = pull(s3, a[3], a_inverse[3], k[3], reach[3], b[3], c[3], v, address + 3 * ROW)
            to_b, to_c = acc[0] + t * ROW, acc[1] + t * ROW
            store(to_b, load(to_b) + fold_four(b0, b1, b2, b3))
            store(to_c, load(to_c) + fold_four(c0, c1, c2, c3))
            store(row + P, v[3])
            store(row + DS, v[4])
        finish(grads, 0, step, s0, a_inverse[0])
        finish(grads, 1, step, s1, a_inverse[1])
        finish(grads, 2, step, s2, a_inverse[2])
        finish(grads, 3, step, s3, a_inverse[3])

    return pull_back


def _make_pull_backs(scaled):
    steep, flat = _make_pull_back(True, True, scaled), _make_pull_back(True, False, scaled)

    @njit(error_model="numpy", nogil=True)
    def pull_back(count, scratch, acc, rows, step, b_row, c_row):
        if is_steep(count, scratch, rows[1], step):
            steep(count, scratch, acc, rows, step, b_row, c_row)
        else:
            flat(count, scratch, acc, rows, step, b_row, c_row)

    return pull_back


_replay_euler, _replay_zoh = _make_replays(False), _make_replays(True)
_back_euler, _back_euler_scaled = _make_pull_back(False, False, False), _make_pull_back(False, False, True)
_back_zoh, _back_zoh_scaled = _make_pull_backs(False), _make_pull_backs(True)


@njit(error_model="numpy", nogil=True)
def sweeps(zoh, scaled, count, scratch, acc, rows, step, b, c):
    """Both sweeps over a tile, in the variant that the call needs.

    ``acc``: addresses of partial dB and dC, bytes per token; ``rows``: addresses of the state at the beginning, of
    ``A``, of the factors, and of the gradients of state, ``A`` and factors; ``step``: bytes between their rows; ``b``,
    ``c``: addresses of B and C.
    """
    if zoh:
        _replay_zoh(count, scratch, rows[1], rows[0], step, b)
        if scaled:
            _back_zoh_scaled(count, scratch, acc, rows, step, b, c)
        else:
            _back_zoh(count, scratch, acc, rows, step, b, c)
        return
    _replay_euler(count, scratch, rows[1], rows[0], step, b)
    if scaled:
        _back_euler_scaled(count, scratch, acc, rows, step, b, c)
    else:
        _back_euler(count, scratch, acc, rows, step, b, c)
