"""Kernels of the depthwise convolution: vectors run over channels, places over a table of neighbors.

Four places go together: the addresses of their neighbors are found once for all channels, those of a neighbor that
there is not lead to zeros.

``forward``: ``out[b, g, p] = act(bias[g] + sum_k weight[g, k] x[b, table[g, p, k]])``, negative entries are left out.
``backward``: first the gradient before the activation, with the sums for weight and bias, then that of ``x``.
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from ..backends.native.call import next_unit, own_scratch, parameters_at, unit_is_done
from ..backends.native.compile import compiled
from ..backends.native.maths import constant, inline, sigmoid
from ..backends.native.vector import (
    LANES,
    ROW,
    load,
    load_index,
    load_int32,
    load_some,
    one_apart,
    pointer_to,
    store,
    store_index,
    store_some,
)

__all__ = ["FIELDS", "RECORD", "depthwise_kernel"]

FIELDS = (
    *("task", "batch", "groups", "length", "channels", "taps", "activation", "run", "runs"),
    *("x", "x_b", "x_t", "out", "out_b", "out_g", "out_t", "grad", "grad_b", "grad_g", "grad_t"),
    *("pre", "pre_b", "pre_g", "pre_t", "table", "weight", "bias", "sums", "sums_step"),
)
RECORD = np.dtype([(name, np.int64) for name in FIELDS])
FORWARD, INNER, OUTER = range(3)

kernel = njit(error_model="numpy", nogil=True)


@inline
def _part(address, valid, whole):
    """A register of channels; if not ``whole``, ``valid`` of them, the other lanes hold 0."""
    if whole:
        return load(address)
    return load_some(address, valid)


@inline
def _put(address, value, valid, whole):
    if whole:
        store(address, value)
    else:
        store_some(address, value, valid)


@kernel
def _find(to, table, taps, count, base, step, none):
    """Addresses ``(taps, 4)`` of the neighbors of four places, of which there are ``count``; ``none``: of zeros."""
    alike = count == 4 and 3 * taps >= 8
    if alike:  # places side by side mostly see neighbors side by side
        for k in range(0, 3 * taps - 8, 8):
            alike &= one_apart(table + 4 * k, 4 * taps)
        alike &= one_apart(table + 4 * (3 * taps - 8), 4 * taps)
    if alike:
        for k in range(taps):
            q = load_int32(table + 4 * k)
            at, apart = (base + q * step, step) if q >= 0 else (none, 0)
            store_index(to + 32 * k, at)
            store_index(to + 32 * k + 8, at + apart)
            store_index(to + 32 * k + 16, at + 2 * apart)
            store_index(to + 32 * k + 24, at + 3 * apart)
        return
    for j in range(4):
        row = table + 4 * taps * min(j, count - 1)
        for k in range(taps):
            q = load_int32(row + 4 * k)
            store_index(to + 32 * k + 8 * j, base + q * step if q >= 0 else none)


@inline
def _gather(addresses, taps, weight, weight_step, shift, valid, whole, start):
    """``start`` plus the weighted neighbors of four places."""
    a0 = a1 = a2 = a3 = start
    for _ in range(taps):
        w = load(weight)
        a0 = a0 + w * _part(load_index(addresses) + shift, valid, whole)
        a1 = a1 + w * _part(load_index(addresses + 8) + shift, valid, whole)
        a2 = a2 + w * _part(load_index(addresses + 16) + shift, valid, whole)
        a3 = a3 + w * _part(load_index(addresses + 24) + shift, valid, whole)
        addresses += 32
        weight += weight_step
    return a0, a1, a2, a3


@inline
def _put_four(target, step, count, values, valid, whole):
    """Writes the results of four places; those beyond ``count`` first, where the last place's follow."""
    a0, a1, a2, a3 = values
    _put(target + min(3, count - 1) * step, a3, valid, whole)
    _put(target + min(2, count - 1) * step, a2, valid, whole)
    _put(target + min(1, count - 1) * step, a1, valid, whole)
    _put(target, a0, valid, whole)


@inline
def _weighted(p, addresses, taps, weight, blocks, start, target, step, count, block, whole):
    shift, valid = block * ROW, p.channels - block * LANES
    first = load(start + shift) if start != 0 else constant(0.0)
    a0, a1, a2, a3 = _gather(addresses, taps, weight + shift, blocks * ROW, shift, valid, whole, first)
    if p.activation:
        a0, a1, a2, a3 = a0 * sigmoid(a0), a1 * sigmoid(a1), a2 * sigmoid(a2), a3 * sigmoid(a3)
    _put_four(target + shift, step, count, (a0, a1, a2, a3), valid, whole)


@inline
def _weigh(p, addresses, taps, weight, start, target, step, count):
    """Four places, all channels: from the neighbors' addresses to the results; ``start``: biases, or 0."""
    blocks, full = (p.channels + LANES - 1) // LANES, p.channels // LANES
    for block in range(full):
        _weighted(p, addresses, taps, weight, blocks, start, target, step, count, block, True)
    if full < blocks:
        _weighted(p, addresses, taps, weight, blocks, start, target, step, count, full, False)


@kernel
def _forward(p, b, g, first, last, none, addresses):
    blocks = (p.channels + LANES - 1) // LANES
    source, target = p.x + b * p.x_b, p.out + b * p.out_b + g * p.out_g
    weight, bias = p.weight + g * p.taps * blocks * ROW, p.bias + g * blocks * ROW
    for place in range(first, last, 4):
        count = min(4, last - place)
        _find(addresses, p.table + 4 * (g * p.length + place) * p.taps, p.taps, count, source, p.x_t, none)
        _weigh(p, addresses, p.taps, weight, bias, target + place * p.out_t, p.out_t, count)


@kernel
def _outer(p, b, first, last, none, addresses):
    """Gradient of ``x``: ``table`` names the places that saw each place."""
    for place in range(first, last, 4):
        count = min(4, last - place)
        for g in range(p.groups):
            to, source = addresses + 32 * g * p.taps, p.pre + b * p.pre_b + g * p.pre_g
            _find(to, p.table + 4 * (g * p.length + place) * p.taps, p.taps, count, source, p.pre_t, none)
        target = p.out + b * p.out_b + place * p.out_t
        _weigh(p, addresses, p.groups * p.taps, p.weight, 0, target, p.out_t, count)


@inline
def _sloped(gradient, total):
    s = sigmoid(total)
    return gradient * s * (constant(1.0) + total * (constant(1.0) - s))


@inline
def _summed(p, addresses, weight, bias, blocks, gradients, target, count, sums, none, block, whole):
    shift, valid, step = block * ROW, p.channels - block * LANES, p.grad_t
    at = gradients + shift
    g0 = _part(at, valid, whole)
    g1 = _part(at + step if count > 1 else none, valid, whole)
    g2 = _part(at + 2 * step if count > 2 else none, valid, whole)
    g3 = _part(at + 3 * step if count > 3 else none, valid, whole)
    if p.activation:
        start = load(bias + shift)
        t0, t1, t2, t3 = _gather(addresses, p.taps, weight + shift, blocks * ROW, shift, valid, whole, start)
        g0, g1, g2, g3 = _sloped(g0, t0), _sloped(g1, t1), _sloped(g2, t2), _sloped(g3, t3)
    _put_four(target + shift, p.pre_t, count, (g0, g1, g2, g3), valid, whole)
    to = sums + shift
    for _ in range(p.taps):
        total = load(to) + g0 * _part(load_index(addresses) + shift, valid, whole)
        total = total + g1 * _part(load_index(addresses + 8) + shift, valid, whole)
        total = total + g2 * _part(load_index(addresses + 16) + shift, valid, whole)
        store(to, total + g3 * _part(load_index(addresses + 24) + shift, valid, whole))
        addresses += 32
        to += blocks * ROW
    store(to, load(to) + ((g0 + g1) + (g2 + g3)))


@kernel
def _inner(p, b, g, first, last, sums, none, addresses):
    """Gradient before the activation into ``pre``; sums for weight ``(taps, channels)`` and bias ``(channels)``."""
    blocks, full = (p.channels + LANES - 1) // LANES, p.channels // LANES
    source = p.x + b * p.x_b
    weight, bias = p.weight + g * p.taps * blocks * ROW, p.bias + g * blocks * ROW
    to = sums + g * (p.taps + 1) * blocks * ROW
    for place in range(first, last, 4):
        count = min(4, last - place)
        _find(addresses, p.table + 4 * (g * p.length + place) * p.taps, p.taps, count, source, p.x_t, none)
        gradients = p.grad + b * p.grad_b + g * p.grad_g + place * p.grad_t
        target = p.pre + b * p.pre_b + g * p.pre_g + place * p.pre_t
        for block in range(full):
            _summed(p, addresses, weight, bias, blocks, gradients, target, count, to, none, block, True)
        if full < blocks:
            _summed(p, addresses, weight, bias, blocks, gradients, target, count, to, none, full, False)


def depthwise_units(call):
    """Take units, each a run of places of one sample (and group), until all are done."""
    p = carray(pointer_to(parameters_at(call)), 1, RECORD)[0]
    none = own_scratch(call)
    addresses = none + (p.channels + LANES - 1) // LANES * ROW
    unit = next_unit(call)
    while unit >= 0:
        for at in range(none, addresses, ROW):  # not before: a late thread's scratch may be another call's by now
            store(at, constant(0.0))
        run = unit % p.runs
        rest = unit // p.runs
        first = run * p.run
        last = min(p.length, first + p.run)
        if p.task == OUTER:
            _outer(p, rest, first, last, none, addresses)
        elif p.task == FORWARD:
            _forward(p, rest // p.groups, rest % p.groups, first, last, none, addresses)
        else:
            sums = p.sums + unit * p.sums_step
            for at in range(0, p.sums_step, ROW):
                store(sums + at, constant(0.0))
            for b in range(p.batch):
                for g in range(p.groups):
                    _inner(p, b, g, first, last, sums, none, addresses)
        unit_is_done(call)
        unit = next_unit(call)


depthwise_kernel = compiled(depthwise_units, seconds=6, what="the depthwise convolution")
