"""A thread pool for kernels that release the interpreter lock: as many threads as ``torch.get_num_threads()``.

Numba's own parallel layers abort when two Python threads enter them or break after ``fork``; this one is shared by
all callers and is built anew in a forked child.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

__all__ = ["run_units", "thread_count"]

_ALIGNMENT = 64
_TASKS_PER_THREAD = 4  # small shares, handed out on demand, even out threads of unequal speed
_WORK_PER_THREAD = 1 << 17  # exponentials below which another thread costs more than it saves

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0


class _Scratch(threading.local):
    """Scratch memory of one thread, kept from call to call: some 100 kB whose pages need not be mapped again."""

    memory = np.empty(0, np.uint8)

    def address(self, size: int) -> int:
        if self.memory.size < size + _ALIGNMENT:
            self.memory = np.empty(size + _ALIGNMENT, np.uint8)
        return -(-self.memory.ctypes.data // _ALIGNMENT) * _ALIGNMENT


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
    """Call ``kernel(params, scratch, begin, end)`` so that all units are done, on up to ``threads`` threads.

    Units are independent: the result does not depend on which thread takes which.
    """
    threads = min(threads, units)
    share = -(-units // (threads * _TASKS_PER_THREAD if threads > 1 else 1))
    tasks = iter([(begin, min(begin + share, units)) for begin in range(0, units, share)])

    def work() -> None:
        scratch = _scratch.address(scratch_bytes)
        for begin, end in tasks:  # a list iterator hands out each task once, whoever asks
            kernel(params, scratch, begin, end)

    if threads == 1:
        work()
        return
    others = _submit(work, threads - 1)
    try:
        work()
    finally:
        for other in others:
            other.result()


def _submit(work: Callable[[], None], count: int) -> list:
    while True:
        pool = _workers(count)
        try:
            return [pool.submit(work) for _ in range(count)]
        except RuntimeError:  # replaced by a larger pool between the two lines, or the interpreter is shutting down
            if pool is _pool:
                raise
