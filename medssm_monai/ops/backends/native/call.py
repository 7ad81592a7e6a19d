"""What a kernel is called with: one address, at which six integers stand.

Address and length of the parameters, address of scratch memory and its bytes for each thread, address of the counters
(units taken, units done, threads that came), number of units.
"""

from __future__ import annotations

from numba import njit

from .vector import load_index, take_one

__all__ = ["COUNTERS", "next_unit", "own_scratch", "parameters_at", "unit_is_done"]

COUNTERS = 3

kernel = njit(error_model="numpy", nogil=True)


@kernel
def parameters_at(call):
    """Address of the parameters."""
    return load_index(call)


@kernel
def own_scratch(call):
    """Address of scratch memory that no other thread uses; asked for once by each thread."""
    return load_index(call + 16) + load_index(call + 24) * take_one(load_index(call + 32) + 16)


@kernel
def next_unit(call):
    """A unit that nobody else takes, or -1 when there is none left."""
    unit = take_one(load_index(call + 32))
    return unit if unit < load_index(call + 40) else -1


@kernel
def unit_is_done(call):
    """Count a unit as finished: the caller of other threads waits for all of them."""
    take_one(load_index(call + 32) + 8)
