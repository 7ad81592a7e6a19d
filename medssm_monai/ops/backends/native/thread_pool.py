"""The threads of the kernels: as many as ``torch.get_num_threads()``.

PyTorch's own where these are GNU's OpenMP threads, else threads of Python; kernels hold no interpreter lock. Numba's
parallel layers abort when two Python threads enter them or break after ``fork``; Python's threads are shared by all
callers and begun anew in a forked child, where OpenMP's are not used.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from array import array
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch

from ....utils.waiting_threads import libgomp
from .call import COUNTERS
from .compile import Kernel

__all__ = ["run_units", "thread_count"]

_ALIGNMENT = 64
_WORDS = 6  # of a call
_BRIEF = 200  # how often a waiting thread looks again at once
_WORK_PER_THREAD = 1 << 17  # exponentials below which another thread costs more than it saves

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_forked = False


class _Own(threading.local):
    """What one thread keeps from call to call: scratch memory, whose pages need not be mapped again, and a call."""

    memory = np.empty(0, np.uint8)
    begin = 0

    def __init__(self) -> None:
        self.call, self.address = _new_call()

    def scratch(self, size: int) -> int:
        """Address of ``size`` bytes."""
        if self.memory.size < size + _ALIGNMENT:
            self.memory = np.empty(size + _ALIGNMENT, np.uint8)
            self.begin = -(-self.memory.ctypes.data // _ALIGNMENT) * _ALIGNMENT
        return self.begin


def _new_call() -> tuple[np.ndarray, int]:
    """Memory for a call, see :mod:`.call`, with its counters behind it, and its address."""
    call = np.zeros(_WORDS + COUNTERS, np.int64)
    return call, call.ctypes.data


_own = _Own()


def _forget_pool() -> None:
    global _forked, _lock, _pool, _pool_size
    _forked = True
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
    """Threads for ``work`` exponentials: one or all, for libgomp ends and begins threads when that changes."""
    return torch.get_num_threads() if work >= 2 * _WORK_PER_THREAD else 1


def run_units(kernel: Kernel, params: array[int], scratch_bytes: int, units: int, threads: int) -> None:
    """Run a kernel on up to ``threads`` threads; return when all units are done.

    ``params``: 64-bit integers (``array("q")``, whose address costs a tenth of that of an array of NumPy). Units are
    independent: the result does not depend on which thread takes which. Where PyTorch computes with GNU's OpenMP, its
    own threads take part: they are awake, and no others fight with them for the processors. Elsewhere threads of Python
    do, and the caller waits for none that has not begun.
    """
    threads = threads if units > 1 else 1
    share = -(-scratch_bytes // _ALIGNMENT) * _ALIGNMENT
    scratch = _own.scratch(share * threads)
    team = _team() if threads > 1 else None
    late = threads > 1 and team is None  # a thread of Python may look at a call after its end: it gets its own
    call, address = _new_call() if late else (_own.call, _own.address)
    start, size = params.buffer_info()
    call[:] = (start, size, scratch, share, address + 8 * _WORDS, units, *[0] * COUNTERS)
    if threads <= 1:
        kernel(address)
    elif team is not None:
        team(ctypes.cast(kernel, ctypes.c_void_p), address, threads, 0)  # type: ignore[arg-type]
    else:
        _run_on_python_threads(kernel, (params, call, _own.memory), address, units, threads)


@cache
def _openmp() -> Callable[..., None] | None:
    library = libgomp()
    if library is None:
        return None
    function = library.GOMP_parallel
    function.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint, ctypes.c_uint)
    function.restype = None
    return function


def _team() -> Callable[..., None] | None:
    """``GOMP_parallel(function, data, threads, flags)``; None in a forked child, where libgomp waits for ever."""
    return None if _forked else _openmp()


def _run_on_python_threads(kernel: Kernel, kept: tuple[Any, ...], address: int, units: int, threads: int) -> None:
    counters = kept[1][_WORDS:]

    def work(kept: tuple[Any, ...] = kept) -> None:  # a thread looks at the counters once more after the last unit
        kernel(address)

    others = _submit(work, threads - 1)
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
