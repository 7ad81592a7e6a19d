"""How PyTorch's threads wait for one another: asleep, so that another program's work does not stop them.

PyTorch shares the work of an operator among the threads of an OpenMP runtime, on Linux nearly always GNU's, libgomp.
A thread that is done waits for the others in a loop, for some milliseconds, before it sleeps. On an idle machine that
saves microseconds. Where another program keeps a processor busy, the waiting thread occupies the processor that the
thread it waits for needs: every operator then takes as long as the system's scheduler lets a thread run, and a training
ten times as long as it should.

``OMP_WAIT_POLICY=PASSIVE`` mends it, but libgomp reads its variables when it is loaded, with ``import torch``, which
comes before any code of a bundle. What holds later is a rule of libgomp's manual (entry ``GOMP_SPINCOUNT``): while
there are more OpenMP threads than processors, a thread looks 100 times, a microsecond, and sleeps. So a few more
threads than there are processors are begun here, do nothing, and sleep until the program ends.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import torch

__all__ = ["OWN_SETTINGS", "idle_threads", "libgomp", "sleep_while_waiting"]

logger = logging.getLogger(__name__)
OWN_SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""Environment variables by which a user says himself how threads wait."""

_lock = threading.Lock()
_idle = 0  # threads begun by this process, or by the one that it was forked from: libgomp counts them in both


def idle_threads(processors: int, threads: int, environment: Mapping[str, str]) -> int:
    """How many more threads make libgomp's threads sleep while they wait.

    Args:
        processors: that this process may use.
        threads: among which PyTorch shares the work of one operator.
        environment: environment variables; one of :data:`OWN_SETTINGS`, and it is the user who decides.

    Returns:
        the number, 0 where nothing is to be done: the user has decided, or there is one thread, which waits for none.
    """
    if threads < 2 or any(name in environment for name in OWN_SETTINGS):
        return 0
    return max(0, processors - threads + 1)


def sleep_while_waiting() -> int:
    """Let PyTorch's threads sleep while they wait for one another, unless the user has decided how they wait.

    Part of :func:`.prepare_process`. Results do not change, nor does the number of threads PyTorch computes with. To
    decide for yourself set one of :data:`OWN_SETTINGS` before Python starts (``OMP_WAIT_POLICY=ACTIVE``: wait in a
    loop).

    Does nothing where PyTorch computes with one thread (``OMP_NUM_THREADS=1``), or with another OpenMP runtime than
    libgomp (Windows, macOS, Intel's and LLVM's): there ``OMP_WAIT_POLICY=PASSIVE`` or ``KMP_BLOCKTIME=0``, set before
    Python starts, is the way.

    Returns:
        the number of sleeping threads that this process holds for it; 0: nothing was done.
    """
    global _idle
    with _lock:
        library = None if _idle else libgomp()
        if library is not None:
            count = idle_threads(library.omp_get_num_procs(), torch.get_num_threads(), os.environ)
            if count:
                _begin(library, count)
                logger.debug("%d idle OpenMP thread(s) begun: the others sleep while they wait", count)
                _idle = count
        return _idle


def libgomp() -> ctypes.CDLL | None:
    """The libgomp that PyTorch computes with, by the order in which the system's loader looks for it."""
    if not sys.platform.startswith("linux"):
        return None
    for library in (None, Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"):
        if library is not None and not library.exists():
            continue
        handle = ctypes.CDLL(None if library is None else str(library))
        if hasattr(handle, "kmp_set_blocktime"):  # Intel's or LLVM's runtime, which answers to GNU's names as well
            return None
        if hasattr(handle, "GOMP_parallel"):
            return handle
    return None


def _begin(libgomp: ctypes.CDLL, count: int) -> None:
    """Begin ``count`` threads that have nothing to do; they belong to a thread that stays."""
    begun = threading.Event()

    def hold() -> None:
        # What a compiler makes of "#pragma omp parallel num_threads(count + 1)" around a call that does nothing.
        nothing = ctypes.cast(libgomp.omp_get_thread_num, ctypes.c_void_p)
        try:
            libgomp.GOMP_parallel(nothing, None, ctypes.c_uint(count + 1), ctypes.c_uint(0))
        finally:
            begun.set()
        threading.Event().wait()  # libgomp ends the threads of one that ends

    threading.Thread(target=hold, name="medssm-waiting", daemon=True).start()
    begun.wait()
