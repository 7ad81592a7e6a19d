"""What a kernel is called with: one address, at which six integers stand."""

from __future__ import annotations

from numba import njit

from .vector import load_index, take_one

__all__ = ["CALL", "COUNTERS", "next_unit", "own_scratch", "parameters_at", "unit_is_done"]

CALL = ("parameters", "parameters' length", "scratch", "bytes of scratch a thread", "counters", "units")
COUNTERS = 3  # units taken, units done, threads that came

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
    take_one(load_index(call + 32) + 8)
