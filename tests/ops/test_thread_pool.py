"""The thread pool of the native kernels."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from medssm_monai.ops.backends.native.thread_pool import run_units


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_counters_outlive_a_thread_that_looks_again_after_the_last_unit(monkeypatch, threads):
    """A worker asks for one unit more when all are done, which may be after the caller has gone on."""
    made = []
    zeros = np.zeros

    class Counters(np.ndarray):
        pass

    def recorded(*args):
        counters = zeros(*args).view(Counters)
        made.append(weakref.ref(counters))
        return counters

    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()
    alive = []

    def kernel(params, scratch, address, units):
        if threading.current_thread() is threading.main_thread():
            if threads > 1:
                begun.wait(10)
            np.ctypeslib.as_array((np.ctypeslib.ctypes.c_int64 * 2).from_address(address))[1] = units
            return
        begun.set()
        may_end.wait(10)
        alive.append(made[0]() is not None)
        ended.set()

    monkeypatch.setattr(np, "zeros", recorded)
    run_units(kernel, np.ones(1, np.int64), 0, 8, threads)
    gc.collect()
    may_end.set()
    if threads > 1:
        assert ended.wait(10)
        assert alive and all(alive)
