"""How many exponentials per second the processor can compute: the package's own vector function on numbers in cache."""

from __future__ import annotations

import time

import numpy as np
from numba import njit

from medssm_monai.ops.backends.native.maths import constant, exp2
from medssm_monai.ops.backends.native.thread_pool import run_units
from medssm_monai.ops.backends.native.vector import LANES, ROW, load, store, take_one

__all__ = ["rate"]

_ROWS = 64
_PASSES = 200


@njit(nogil=True, error_model="numpy")
def _exponentials(params, scratch, counters, units):
    for row in range(_ROWS):
        store(scratch + row * ROW, constant(-0.01))
    while take_one(counters) < units:
        for _ in range(_PASSES):
            for row in range(_ROWS):
                store(scratch + row * ROW, constant(0.0) - exp2(load(scratch + row * ROW)))
        take_one(counters + 8)


def rate(threads: int) -> float:
    """Exponentials per second on ``threads`` threads."""
    nothing = np.zeros(1)
    units = 64 * threads
    run_units(_exponentials, nothing, _ROWS * ROW, units, threads)
    best = float("inf")
    for _ in range(9):
        start = time.perf_counter()
        run_units(_exponentials, nothing, _ROWS * ROW, units, threads)
        best = min(best, time.perf_counter() - start)
    return units * _PASSES * _ROWS * LANES / best
