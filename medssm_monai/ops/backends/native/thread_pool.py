"""A thread pool for kernels that release the interpreter lock: as many threads as ``torch.get_num_threads()``.

Numba's own parallel layers abort when two Python threads enter them or break after ``fork``; this one is shared by
all callers and is built anew in a forked child.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

__all__ = ["run_units", "thread_count"]

_ALIGNMENT = 64
_BRIEF = 200  # how often a waiting thread looks again at once
_WORK_PER_THREAD = 1 << 17  # exponentials below which another thread costs more than it saves

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0


class _Scratch(threading.local):
    """Scratch memory of one thread, kept from call to call: some 100 kB whose pages need not be mapped again."""

    memory = np.empty(0, np.uint8)
    begin = 0

    def address(self, size: int) -> int:
        if self.memory.size < size + _ALIGNMENT:
            self.memory = np.empty(size + _ALIGNMENT, np.uint8)
            self.begin = -(-self.memory.ctypes.data // _ALIGNMENT) * _ALIGNMENT
        return self.begin


_scratch = _Scratch()


def _forget_pool() -> None:
    global _lock, _pool, _pool_size
    _lock, _pool, _pool_size = threading.Lock(), None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def _workers(count: int) -> ThreadPoolExecutor:
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < count:
            if _pool is not None:
                _pool.shutdown(wait=False)  # finishes what other callers handed in
            _pool, _pool_size = ThreadPoolExecutor(count, thread_name_prefix="medssm-scan"), count
        return _pool


def thread_count(work: int) -> int:
    """Threads for ``work`` exponentials."""
    return max(1, min(torch.get_num_threads(), work // _WORK_PER_THREAD))


def run_units(kernel: Callable[..., None], params: np.ndarray, scratch_bytes: int, units: int, threads: int) -> None:
    """Run ``kernel(params, scratch, counters, units)`` on up to ``threads`` threads; return when all units are done.

    The kernel takes units from the first counter and counts finished ones in the second. Units are independent: the
    result does not depend on which thread takes which. The caller works too, and waits for no thread that has not
    begun: on a busy machine it does everything alone rather than wait for a processor.
    """
    counters = np.zeros(2, np.int64)

    def work() -> None:  # holds the counters: a thread may come late, and finds nothing left to do
        kernel(params, _scratch.address(scratch_bytes), counters.ctypes.data, units)

    if threads == 1 or units == 1:
        work()
        return
    others = _submit(work, min(threads, units) - 1)
    work()
    for other in others:
        other.cancel()
    waited = 0
    while counters[1] < units:  # another thread is in its last unit
        time.sleep(0 if waited < _BRIEF else 1e-4)
        waited += 1


def _submit(work: Callable[[], None], count: int) -> list[Future]:
    while count > 0:
        pool = _workers(count)
        try:
            return [pool.submit(work) for _ in range(count)]
        except RuntimeError:  # replaced by a larger pool between the two lines, or the interpreter is shutting down
            if pool is _pool:
                raise
    return []
