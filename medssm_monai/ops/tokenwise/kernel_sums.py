"""Adds up the partial sums of a chain's parameter gradients."""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from ..backends.native.call import next_unit, parameters_at, unit_is_done
from ..backends.native.compile import compiled
from ..backends.native.vector import LANES, load_index, pointer_to

__all__ = ["sums_kernel"]


@njit(error_model="numpy", nogil=True)
def _add(sums, table, target):
    """``sums (units, numbers)``; a row of ``table``: where a gradient's sums begin, its outputs and inputs, its place.

    See :class:`.program.Sums`; the last two numbers are the first place in ``target`` and the width of a row there.
    """
    for unit in range(sums.shape[0]):
        for row in range(table.shape[0]):
            shift, outputs, inputs, start, width = table[row]
            if inputs == 0:
                for o in range(outputs):
                    for lane in range(LANES):
                        target[start + o] += sums[unit, shift + o * LANES + lane]
                continue
            blocks = (inputs + 3) // 4
            for o in range(outputs):
                for block in range(blocks):
                    at = shift + (o * blocks + block) * LANES
                    to = start + o * width + 4 * block
                    for k in range(min(4, inputs - 4 * block)):
                        for lane in range(k, LANES, 4):
                            target[to + k] += sums[unit, at + lane]


def sums_units(call):
    """One unit: sums, units, their numbers, table, its rows, target, its length."""
    p = parameters_at(call)
    sums = carray(pointer_to(load_index(p)), (load_index(p + 8), load_index(p + 16)), np.float32)
    table = carray(pointer_to(load_index(p + 24)), (load_index(p + 32), 5), np.int64)
    target = carray(pointer_to(load_index(p + 40)), load_index(p + 48), np.float32)
    while next_unit(call) >= 0:
        _add(sums, table, target)
        unit_is_done(call)


sums_kernel = compiled(sums_units)
