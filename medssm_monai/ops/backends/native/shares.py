"""Adds up the shares that threads computed, in fixed order, on the scan's own threads.

PyTorch's reductions would do, but they run on OpenMP threads, which wait by spinning: on a machine that is busy with
something else, a sum of 20 us was seen to take 20 ms.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import float32, njit
from torch import Tensor

from .threads import run_units, thread_count
from .vector import LANES, load, load_number, store, store_number, take_one

__all__ = ["add_shares", "add_units", "empty_shares"]

_BLOCK = 4096  # numbers per unit of work


@njit(error_model="numpy", nogil=True)
def _unit(target, source, count, i, last, size):
    """``target[i:last] = sum(shares[:, i:last])``."""
    while i + LANES <= last:
        total = load(source + 4 * i)
        for share in range(1, count):
            total = total + load(source + 4 * (share * size + i))
        store(target + 4 * i, total)
        i += LANES
    while i < last:
        number = float32(0.0)
        for share in range(count):
            number += load_number(source + 4 * (share * size + i))
        store_number(target + 4 * i, number)
        i += 1


def add_units(params, scratch, counters, units):
    """Take units of ``_BLOCK`` sums until all are done; ``params``: target, shares, their count, numbers in each."""
    target, source, count, size = params[0], params[1], params[2], params[3]
    unit = take_one(counters)
    while unit < units:
        i = unit * _BLOCK
        _unit(target, source, count, i, min(size, i + _BLOCK), size)
        take_one(counters + 8)
        unit = take_one(counters)


def add_shares(shares: Tensor, target: Tensor | None = None) -> Tensor:
    """Sum over the first axis of a contiguous tensor, into the memory of ``target`` if given (same numbers, dense)."""
    from .kernels import add_kernel  # which imports this module

    if target is None:
        if shares.shape[0] == 1:
            return shares[0]
        target = shares.new_empty(shares.shape[1:])
    size = target.numel()
    params = np.array([target.data_ptr(), shares.data_ptr(), shares.shape[0], size], np.int64)
    run_units(add_kernel(), params, 0, -(-size // _BLOCK), thread_count(size))
    return target


def empty_shares(count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Memory for ``count`` shares of a dense tensor, and the first share with the strides of ``like``."""
    memory = torch.empty(count, like.numel())
    return memory, memory[0].as_strided(like.shape, like.stride())
