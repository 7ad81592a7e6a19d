"""Compiles the kernels on first use and keeps the machine code on disk."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np

from ....utils.user_cache import is_writable, user_cache
from .backward import backward_units
from .forward import forward_units
from .params import make_params
from .shares import add_units

__all__ = ["EXPECTED_SECONDS", "add_kernel", "backward_kernel", "cache_directory", "forward_kernel"]

_log = logging.getLogger(__name__)
_lock = threading.RLock()
EXPECTED_SECONDS = {"forward": 15, "backward": 20}
"""Of compiling, measured with an empty cache on an idle core of an AMD EPYC server; the rest takes less than 1 s."""
Kernel = Callable[[np.ndarray, int, int, int], None]


def cache_directory() -> Path | None:
    """Where machine code is kept: ``NUMBA_CACHE_DIR``, beside this file, or the user's cache, the first that can be
    written; None if there is none.

    The last part of the name is a digest of the kernels' source: Numba itself only notices a change of the file that
    holds the outermost function.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(here.glob("*.py")):
        digest.update(source.read_bytes())
    roots = [Path(numba.config.CACHE_DIR)] if numba.config.CACHE_DIR else []
    roots.append(here / "__pycache__")
    name = f"scan-{digest.hexdigest()[:16]}"
    for root in roots:
        if is_writable(root / name):
            return root / name
    cache = user_cache()
    return cache / name if cache is not None and is_writable(cache / name) else None


def _announce(kernel: str, directory: Path | None) -> None:
    """Say that the program waits. A warning, since in plain Python, without logging set up, others are not seen."""
    if kernel not in EXPECTED_SECONDS:
        return
    _log.warning(
        "compiling the selective scan (%s pass) for this processor, about %d s, longer on a busy machine; %s",
        kernel,
        EXPECTED_SECONDS[kernel],
        f"once: the result is kept in {directory}"
        if directory
        else "again in every process, since there is no folder to keep it: set NUMBA_CACHE_DIR to one of your own",
    )


def _compile(function: Callable[..., None], params: np.ndarray) -> Kernel:
    with _lock:
        directory = cache_directory()
        options = {"nogil": True, "error_model": "numpy"}
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(directory or before)
        try:
            kernel = numba.njit(cache=directory is not None, **options)(function)
        finally:
            numba.config.CACHE_DIR = before
        if directory is None or not any(directory.rglob(f"*.{function.__name__}-*.nbi")):
            _announce(function.__name__.removesuffix("_units"), directory)
        start = time.perf_counter()
        counters = np.zeros(2, np.int64)
        kernel(params, 0, counters.ctypes.data, 0)  # no units: compiles or loads, computes nothing
        _log.debug("%s ready after %.2f s", function.__name__, time.perf_counter() - start)
        return kernel


_compiled: dict[Callable[..., None], Kernel] = {}


def _kernel(function: Callable[..., None], example: Callable[[], np.ndarray]) -> Kernel:
    if function not in _compiled:
        with _lock:
            if function not in _compiled:
                _compiled[function] = _compile(function, example())
    return _compiled[function]


def _no_params() -> np.ndarray:
    return make_params({}, {})


def add_kernel() -> Kernel:
    """``kernel(params, scratch, counters, units)`` that adds up shares."""
    return _kernel(add_units, lambda: np.zeros(4, np.int64))


def forward_kernel() -> Kernel:
    """``kernel(params, scratch, counters, units)`` of the forward pass."""
    return _kernel(forward_units, _no_params)


def backward_kernel() -> Kernel:
    """``kernel(params, scratch, counters, units)`` of the backward pass."""
    return _kernel(backward_units, _no_params)
