"""Adds up the partial sums of a chain's parameter gradients."""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from ..backends.native.call import next_unit, parameters_at, unit_is_done
from ..backends.native.compile import compiled
from ..backends.native.vector import (
    LANES,
    ROW,
    load,
    load_index,
    load_number,
    pointer_to,
    store,
    store_number,
)

__all__ = ["sums_kernel"]

kernel = njit(error_model="numpy", nogil=True)


@kernel
def _add_units(sums, units, size):
    """Adds the sums of all units, ``size`` bytes each, to those of the first."""
    for at in range(0, size, ROW):
        total = load(sums + at)
        for unit in range(1, units):
            total = total + load(sums + unit * size + at)
        store(sums + at, total)


@kernel
def _add_to(target, source, step):
    """Adds the numbers that stand at ``source`` and every ``step`` lanes on."""
    total = load_number(target)
    for lane in range(0, LANES, step):
        total += load_number(source + 4 * lane)
    store_number(target, total)


@kernel
def _scatter(sums, table, target):
    """From lanes to gradients; a row of ``table``: where a gradient's sums begin, its outputs and inputs, its place.

    See :class:`.program.Sums`; then the first place in ``target``, the width of a row there, and ``wide``.
    """
    for row in range(table.shape[0]):
        shift, outputs, inputs, start, width, wide = table[row]
        source, to = sums + 4 * shift, target + 4 * start
        if inputs == 0:
            for o in range(outputs):
                _add_to(to + 4 * o, source + o * ROW, 1)
            continue
        if wide:
            for o in range(outputs):
                for i in range(0, 4 * inputs, ROW):
                    at = to + 4 * o * width + i
                    store(at, load(at) + load(source + 4 * o * inputs + i))
            continue
        pairs = (outputs + 1) // 2
        for o in range(outputs):
            for i in range(inputs):
                lane = 4 * (o % 2) + i % 4
                _add_to(to + 4 * (o * width + i), source + (i // 4 * pairs + o // 2) * ROW + 4 * lane, 8)


def sums_units(call):
    """One unit: sums, units, their numbers, table, its rows, target, its length."""
    p = parameters_at(call)
    sums, target = load_index(p), load_index(p + 40)
    table = carray(pointer_to(load_index(p + 24)), (load_index(p + 32), 6), np.int64)
    while next_unit(call) >= 0:
        _add_units(sums, load_index(p + 8), 4 * load_index(p + 16))
        _scatter(sums, table, target)
        unit_is_done(call)


sums_kernel = compiled(sums_units)
