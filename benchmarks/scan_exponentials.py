"""How many exponentials per second the processor can compute: the package's own vector function on numbers in cache."""

from __future__ import annotations

import time
from array import array

from medssm_monai.ops.backends.native.call import next_unit, own_scratch, unit_is_done
from medssm_monai.ops.backends.native.compile import compiled
from medssm_monai.ops.backends.native.maths import constant, exp2
from medssm_monai.ops.backends.native.thread_pool import run_units
from medssm_monai.ops.backends.native.vector import LANES, ROW, load, store

__all__ = ["rate"]

_ROWS = 64
_PASSES = 200


def exponential_units(call):
    """Take units of ``_PASSES`` times ``_ROWS`` registers of exponentials until all are done."""
    scratch = own_scratch(call)
    for row in range(_ROWS):
        store(scratch + row * ROW, constant(-0.01))
    unit = next_unit(call)
    while unit >= 0:
        for _ in range(_PASSES):
            for row in range(_ROWS):
                store(scratch + row * ROW, constant(0.0) - exp2(load(scratch + row * ROW), constant(1.0)))
        unit_is_done(call)
        unit = next_unit(call)


_kernel = compiled(exponential_units)


def rate(threads: int) -> float:
    """Exponentials per second on ``threads`` threads."""
    nothing = array("q", [0])
    units = 64 * threads
    run_units(_kernel(), nothing, _ROWS * ROW, units, threads)
    best = float("inf")
    for _ in range(9):
        start = time.perf_counter()
        run_units(_kernel(), nothing, _ROWS * ROW, units, threads)
        best = min(best, time.perf_counter() - start)
    return units * _PASSES * _ROWS * LANES / best
