"""The threads that run native kernels."""

from __future__ import annotations

import ctypes
import gc
import threading
import weakref
from array import array
from importlib import import_module

import numpy as np
import pytest
import torch

from medssm_monai.ops.backends.native import thread_pool
from medssm_monai.ops.backends.native.reduce import add_kernel, add_partial_sums


@pytest.fixture
def python_threads(monkeypatch):
    """As where PyTorch computes with another runtime than GNU's."""
    monkeypatch.setattr(thread_pool, "_team", lambda: None)


@pytest.fixture(params=["OpenMP", "Python"])
def kind(request, monkeypatch):
    if request.param == "Python":
        request.getfixturevalue("python_threads")
    elif thread_pool._team() is None:
        pytest.skip("PyTorch computes with another runtime than GNU's OpenMP")
    return request.param


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_every_unit_is_done_once_on_any_threads(kind, threads, monkeypatch):
    monkeypatch.setattr(thread_pool.torch, "get_num_threads", lambda: threads)
    parts = torch.rand(3, 1_000_003)
    for _ in range(5):
        torch.testing.assert_close(add_partial_sums(parts), parts.sum(0))


def test_several_callers_at_once(kind):
    parts = [torch.rand(3, 300_001) for _ in range(4)]
    results: list[torch.Tensor | None] = [None] * 4

    def call(i: int) -> None:
        for _ in range(20):
            results[i] = add_partial_sums(parts[i])

    callers = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for part, result in zip(parts, results, strict=True):
        torch.testing.assert_close(result, part.sum(0))


def test_what_a_late_thread_looks_at_is_kept(python_threads, monkeypatch):
    """A thread asks for one unit more when all are done, which may be after the caller has gone on."""
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()
    kept: list[weakref.ref] = []
    alive: list[bool] = []
    run = thread_pool._run_on_python_threads

    class Call(np.ndarray):
        pass

    def noting(kernel, things, address, units, threads):
        things = (things[0], things[1].view(Call), *things[2:])
        kept.append(weakref.ref(things[1]))
        run(kernel, things, address, units, threads)

    def kernel(address):
        call = (ctypes.c_int64 * 6).from_address(address)
        if threading.current_thread() is threading.main_thread():
            begun.wait(10)
            (ctypes.c_int64 * 3).from_address(call[4])[1] = call[5]
            return
        begun.set()
        may_end.wait(10)
        alive.append(kept[0]() is not None)
        ended.set()

    monkeypatch.setattr(thread_pool, "_run_on_python_threads", noting)
    thread_pool.run_units(kernel, array("q", [1]), 0, 8, 2)
    gc.collect()
    may_end.set()
    assert ended.wait(10) and alive == [True]


def test_a_kernel_is_compiled_once():
    assert add_kernel() is add_kernel()


@pytest.mark.parametrize(
    "name",
    [
        "backends.native.forward.forward_kernel",
        "backends.native.backward.backward_kernel",
        "backends.native.packing.copy_kernel",
        "backends.native.reduce.add_kernel",
        "depthwise.kernel.depthwise_kernel",
        "spectral.kernel.spectral_kernel",
        "tokenwise.kernel.token_kernel",
        "tokenwise.kernel_sums.sums_kernel",
    ],
)
def test_a_kernel_that_comes_too_late_leaves_scratch_memory_alone(name):
    """A thread may begin when all units are taken: its scratch memory may then be that of another call."""
    module, _, kernel = name.rpartition(".")
    run = getattr(import_module(f"medssm_monai.ops.{module}"), kernel)()
    params, scratch = np.full(256, 64, np.int64), np.full(1 << 16, 7, np.uint8)
    units = 5
    counters = np.array([units, units - 1, 0], np.int64)  # all taken, the last one not done
    address = scratch.ctypes.data
    call = np.array([params.ctypes.data, params.size, address, 1 << 15, counters.ctypes.data, units], np.int64)
    run(call.ctypes.data)
    assert (scratch == 7).all()
    assert counters[1] == units - 1
