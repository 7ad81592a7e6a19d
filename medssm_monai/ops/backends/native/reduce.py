"""Adds up the partial sums that threads computed, in fixed order, on the scan's own threads.

PyTorch's reductions would do, but they run on OpenMP threads, which wait by spinning: on a machine that is busy with
something else, a sum of 20 us was seen to take 20 ms.
"""

from __future__ import annotations

from array import array

from numba import float32, njit
from torch import Tensor

from .call import next_unit, parameters_at, unit_is_done
from .compile import compiled
from .thread_pool import run_units, thread_count
from .vector import LANES, load, load_index, load_number, store, store_number

__all__ = ["add_kernel", "add_partial_sums"]

_BLOCK = 4096  # numbers per unit of work


@njit(error_model="numpy", nogil=True)
def _unit(target, source, count, i, last, size):
    """``target[i:last] = sum(source[:, i:last])``; ``count`` rows of ``size`` numbers."""
    while i + LANES <= last:
        total = load(source + 4 * i)
        for part in range(1, count):
            total = total + load(source + 4 * (part * size + i))
        store(target + 4 * i, total)
        i += LANES
    while i < last:
        number = float32(0.0)
        for part in range(count):
            number += load_number(source + 4 * (part * size + i))
        store_number(target + 4 * i, number)
        i += 1


def add_units(call):
    """Take units of ``_BLOCK`` sums until all are done; parameters: target, parts, their count, numbers in each."""
    p = parameters_at(call)
    target, source, count, size = load_index(p), load_index(p + 8), load_index(p + 16), load_index(p + 24)
    unit = next_unit(call)
    while unit >= 0:
        i = unit * _BLOCK
        _unit(target, source, count, i, min(size, i + _BLOCK), size)
        unit_is_done(call)
        unit = next_unit(call)


add_kernel = compiled(add_units)


def add_partial_sums(parts: Tensor, target: Tensor | None = None) -> Tensor:
    """Sum over the first axis of a contiguous tensor, into the memory of ``target`` if given (same numbers, dense)."""
    if target is None:
        if parts.shape[0] == 1:
            return parts[0]
        target = parts.new_empty(parts.shape[1:])
    size = target.numel()
    params = array("q", (target.data_ptr(), parts.data_ptr(), parts.shape[0], size))
    run_units(add_kernel(), params, 0, -(-size // _BLOCK), thread_count(size))
    return target
