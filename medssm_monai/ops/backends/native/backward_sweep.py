"""Backward sweeps: one tile of tokens, ``STATES x LANES`` (state, channel) pairs in registers.

The states of the tile are computed again from the state at its beginning (``replay``); then the gradient of the state
runs from the last token to the first (``pull_back``)::

    dh[t] = dh[t+1] a[t+1] + C[t] dy[t]
    dC[t] += h[t] dy[t]               dB[t] += dh[t] w[t] u[t]
    dA    += dh[t] (delta[t] a[t] h[t-1] + dw/dA B[t] u[t])
    ddelta[t] += dh[t] (A a[t] h[t-1] + dw/ddelta B[t] u[t])        du[t] += dh[t] w[t] B[t]

with ``a = exp(delta A)``; Euler: ``w = delta``; zero-order hold: ``w = (a - 1) / A``, ``dw/ddelta = a``.
"""

from __future__ import annotations

from numba import njit

from .forward import away_from_zero, four, load_four, store_four
from .maths import LOG2_E, constant, exp2, expm1_derivative, inline, power_and_rest
from .places import DECAY, DELTA, DS, DY, H, P, W, X
from .vector import ROW, load, splat_at, store

__all__ = ["sweeps"]


def _make_replay(zoh):
    @inline
    def advance(h, delta, x, a, a_inverse, b, place):
        store(place + H, h)
        if zoh:
            p, r = power_and_rest(delta * a)
            pr = p * r
            decay = pr + p
            w = (pr + (p - constant(1.0))) * a_inverse
            store(place + W, w)
            x = x * w
        else:
            decay = exp2(delta * a)
        store(place + DECAY, decay)
        return decay * h + x * b

    @njit(error_model="numpy", nogil=True)
    def replay(count, scratch, a_row, h_row, step, b_row):
        natural = load_four(a_row, step)
        n0, n1 = away_from_zero(natural[0]), away_from_zero(natural[1])
        n2, n3 = away_from_zero(natural[2]), away_from_zero(natural[3])
        a0, a1, a2, a3 = (
            n0 * constant(LOG2_E),
            n1 * constant(LOG2_E),
            n2 * constant(LOG2_E),
            n3 * constant(LOG2_E),
        )
        one = constant(1.0)
        i0, i1, i2, i3 = one / n0, one / n1, one / n2, one / n3
        h0, h1, h2, h3 = load_four(h_row, step)
        b = four(b_row, 4)
        for t in range(count):
            row = scratch + t * ROW
            place = scratch + 4 * t * ROW
            delta, x = load(row + DELTA), load(row + X)
            at = t * ROW
            h0 = advance(h0, delta, x, a0, i0, splat_at(b[0] + at), place)
            h1 = advance(h1, delta, x, a1, i1, splat_at(b[1] + at), place + ROW)
            h2 = advance(h2, delta, x, a2, i2, splat_at(b[2] + at), place + 2 * ROW)
            h3 = advance(h3, delta, x, a3, i3, splat_at(b[3] + at), place + 3 * ROW)

    return replay


def _make_pull_back(zoh, scaled):
    @inline
    def pull(dh, da, dk, a, k, b, c, tile, place, acc_b, acc_c):
        """One state row, one token; returns the new ``dh``, ``da``, ``dk`` and what it adds to ``P`` and ``DS``."""
        delta, x, dy, p, s = tile
        decay = load(place + DECAY)
        ah = decay * load(place + H)
        dyk = dy
        if scaled:
            dyk = dy * k
        dh = dh + c * dyk
        dhb = dh * b
        gh = dh * ah
        da = da + gh * delta
        p = p + gh * a
        wx = x
        if zoh:
            w = load(place + W)
            wx = w * x
            dhbx = dhb * x
            p = p + dhbx * decay
            da = da + dhbx * (delta * delta * expm1_derivative(delta * a, decay, w * a))
            s = s + dhb * w
        else:
            s = s + dhb
        h = ah + wx * b
        store(acc_b, load(acc_b) + dh * wx)
        store(acc_c, load(acc_c) + h * dyk)
        if scaled:
            dk = dk + c * h * dy
        return dh * decay, da, dk, (delta, x, dy, p, s)

    @njit(error_model="numpy", nogil=True)
    def pull_back(count, scratch, acc, acc_step, acc_c, a_row, k_row, grads, step, b_row, c_row):
        a = load_four(a_row, step)
        a0, a1, a2, a3 = away_from_zero(a[0]), away_from_zero(a[1]), away_from_zero(a[2]), away_from_zero(a[3])
        k = a
        dk0 = dk1 = dk2 = dk3 = constant(0.0)
        if scaled:
            k = load_four(k_row, step)
            dk0, dk1, dk2, dk3 = load_four(grads[2], step)
        dh0, dh1, dh2, dh3 = load_four(grads[0], step)
        da0, da1, da2, da3 = load_four(grads[1], step)
        b, c = four(b_row, 4), four(c_row, 4)
        for i in range(count):
            t = count - 1 - i
            row, place = scratch + t * ROW, scratch + 4 * t * ROW
            at = t * ROW
            to_b = four(acc + t * acc_step, ROW)
            to_c = four(acc_c + t * acc_step, ROW)
            tile = (load(row + DELTA), load(row + X), load(row + DY), load(row + P), load(row + DS))
            dh0, da0, dk0, tile = pull(
                dh0, da0, dk0, a0, k[0], splat_at(b[0] + at), splat_at(c[0] + at), tile, place, to_b[0], to_c[0]
            )
            dh1, da1, dk1, tile = pull(
                dh1,
                da1,
                dk1,
                a1,
                k[1],
                splat_at(b[1] + at),
                splat_at(c[1] + at),
                tile,
                place + ROW,
                to_b[1],
                to_c[1],
            )
            dh2, da2, dk2, tile = pull(
                dh2,
                da2,
                dk2,
                a2,
                k[2],
                splat_at(b[2] + at),
                splat_at(c[2] + at),
                tile,
                place + 2 * ROW,
                to_b[2],
                to_c[2],
            )
            dh3, da3, dk3, tile = pull(
                dh3,
                da3,
                dk3,
                a3,
                k[3],
                splat_at(b[3] + at),
                splat_at(c[3] + at),
                tile,
                place + 3 * ROW,
                to_b[3],
                to_c[3],
            )
            store(row + P, tile[3])
            store(row + DS, tile[4])
        store_four(grads[0], step, (dh0, dh1, dh2, dh3))
        store_four(grads[1], step, (da0, da1, da2, da3))
        if scaled:
            store_four(grads[2], step, (dk0, dk1, dk2, dk3))

    return pull_back


_replay_euler, _replay_zoh = _make_replay(False), _make_replay(True)
_back_euler, _back_euler_scaled = _make_pull_back(False, False), _make_pull_back(False, True)
_back_zoh, _back_zoh_scaled = _make_pull_back(True, False), _make_pull_back(True, True)


@njit(error_model="numpy", nogil=True)
def sweeps(zoh, scaled, count, scratch, h_row, acc, acc_step, acc_c, a, k, grads, step, b, c):
    """Both sweeps over a tile, in the variant that the call needs."""
    if zoh:
        _replay_zoh(count, scratch, a, h_row, step, b)
        if scaled:
            _back_zoh_scaled(count, scratch, acc, acc_step, acc_c, a, k, grads, step, b, c)
        else:
            _back_zoh(count, scratch, acc, acc_step, acc_c, a, k, grads, step, b, c)
        return
    _replay_euler(count, scratch, a, h_row, step, b)
    if scaled:
        _back_euler_scaled(count, scratch, acc, acc_step, acc_c, a, k, grads, step, b, c)
    else:
        _back_euler(count, scratch, acc, acc_step, acc_c, a, k, grads, step, b, c)
