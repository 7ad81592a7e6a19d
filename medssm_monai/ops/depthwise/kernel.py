"""Kernels of the depthwise convolution: vectors run over channels, places over a table of neighbors.

``forward``: ``out[b, g, p] = act(bias[g] + sum_k weight[g, k] x[b, table[g, p, k]])``, negative entries are left out.
``backward``: first the gradient before the activation, with the sums for weight and bias, then that of ``x``.
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from ..backends.native.call import next_unit, parameters_at, unit_is_done
from ..backends.native.compile import compiled
from ..backends.native.maths import constant, inline, sigmoid
from ..backends.native.vector import LANES, ROW, load, load_int32, load_number, pointer_to, store, store_number

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
def _part(address, valid):
    """``valid`` numbers; the other lanes hold 0."""
    if valid == LANES:
        return load(address)
    return _few(address, valid)


@kernel
def _few(address, valid):
    memory = np.zeros(LANES, np.float32)
    for lane in range(valid):
        memory[lane] = load_number(address + 4 * lane)
    value = load(memory.ctypes.data)
    memory[0] = 0  # a use after the load: the memory lives until here
    return value


@kernel
def _put_few(address, value, valid):
    memory = np.zeros(LANES, np.float32)
    store(memory.ctypes.data, value)
    for lane in range(valid):
        store_number(address + 4 * lane, memory[lane])


@inline
def _put(address, value, valid):
    if valid == LANES:
        store(address, value)
    else:
        _put_few(address, value, valid)


@inline
def _gather(p, source, step, entries, weight, blocks, total, shift, valid):
    """``total`` plus the weighted neighbors."""
    for k in range(p.taps):
        q = load_int32(entries + 4 * k)
        if q >= 0:
            total = total + load(weight + k * blocks * ROW) * _part(source + q * step + shift, valid)
    return total


@kernel
def _forward(p, b, g, first, last):
    blocks = (p.channels + LANES - 1) // LANES
    source, target = p.x + b * p.x_b, p.out + b * p.out_b + g * p.out_g
    for place in range(first, last):
        entries = p.table + 4 * (g * p.length + place) * p.taps
        for block in range(blocks):
            shift = block * ROW
            valid = min(LANES, p.channels - block * LANES)
            weight = p.weight + g * p.taps * blocks * ROW + shift
            total = load(p.bias + g * blocks * ROW + shift)
            total = _gather(p, source, p.x_t, entries, weight, blocks, total, shift, valid)
            if p.activation:
                total = total * sigmoid(total)
            _put(target + place * p.out_t + shift, total, valid)


@kernel
def _inner(p, b, g, first, last, sums):
    """Gradient before the activation into ``pre``; sums for weight ``(taps, channels)`` and bias ``(channels)``."""
    blocks = (p.channels + LANES - 1) // LANES
    source = p.x + b * p.x_b
    one = constant(1.0)
    for place in range(first, last):
        entries = p.table + 4 * (g * p.length + place) * p.taps
        for block in range(blocks):
            shift = block * ROW
            valid = min(LANES, p.channels - block * LANES)
            gradient = _part(p.grad + b * p.grad_b + g * p.grad_g + place * p.grad_t + shift, valid)
            if p.activation:
                weight = p.weight + g * p.taps * blocks * ROW + shift
                total = load(p.bias + g * blocks * ROW + shift)
                total = _gather(p, source, p.x_t, entries, weight, blocks, total, shift, valid)
                s = sigmoid(total)
                gradient = gradient * s * (one + total * (one - s))
            _put(p.pre + b * p.pre_b + g * p.pre_g + place * p.pre_t + shift, gradient, valid)
            to = sums + (g * (p.taps + 1) * blocks) * ROW + shift
            for k in range(p.taps):
                q = load_int32(entries + 4 * k)
                if q >= 0:
                    at = to + k * blocks * ROW
                    store(at, load(at) + gradient * _part(source + q * p.x_t + shift, valid))
            at = to + p.taps * blocks * ROW
            store(at, load(at) + gradient)


@kernel
def _outer(p, b, first, last):
    """Gradient of ``x``: ``table`` names the places that saw each place."""
    blocks = (p.channels + LANES - 1) // LANES
    for place in range(first, last):
        for block in range(blocks):
            shift = block * ROW
            valid = min(LANES, p.channels - block * LANES)
            total = constant(0.0)
            for g in range(p.groups):
                entries = p.table + 4 * (g * p.length + place) * p.taps
                weight = p.weight + g * p.taps * blocks * ROW + shift
                source = p.pre + b * p.pre_b + g * p.pre_g
                total = _gather(p, source, p.pre_t, entries, weight, blocks, total, shift, valid)
            _put(p.out + b * p.out_b + place * p.out_t + shift, total, valid)


def depthwise_units(call):
    """Take units, each a run of places of one sample (and group), until all are done."""
    p = carray(pointer_to(parameters_at(call)), 1, RECORD)[0]
    unit = next_unit(call)
    while unit >= 0:
        run = unit % p.runs
        rest = unit // p.runs
        first = run * p.run
        last = min(p.length, first + p.run)
        if p.task == OUTER:
            _outer(p, rest, first, last)
        elif p.task == FORWARD:
            _forward(p, rest // p.groups, rest % p.groups, first, last)
        else:
            sums = p.sums + unit * p.sums_step
            for at in range(0, p.sums_step, ROW):
                store(sums + at, constant(0.0))
            for b in range(p.batch):
                for g in range(p.groups):
                    _inner(p, b, g, first, last, sums)
        unit_is_done(call)
        unit = next_unit(call)


depthwise_kernel = compiled(depthwise_units, seconds=6)
