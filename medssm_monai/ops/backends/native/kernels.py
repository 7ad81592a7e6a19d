"""Compiles the kernels on first use and keeps the machine code on disk."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np

from .backward import backward_units
from .forward import forward_units
from .params import make_params
from .shares import add_units

__all__ = ["add_kernel", "backward_kernel", "cache_directory", "forward_kernel"]

_log = logging.getLogger(__name__)
_lock = threading.RLock()
Kernel = Callable[[np.ndarray, int, int, int], None]


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _is_writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".probe-{os.getpid()}-{threading.get_ident()}"
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def cache_directory() -> Path | None:
    """Where machine code is kept: ``NUMBA_CACHE_DIR``, beside this file or the user's cache; None if all are read-only.

    The last part of the name is a digest of the kernels' source: Numba itself only notices a change of the file that
    holds the outermost function.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(here.glob("*.py")):
        digest.update(source.read_bytes())
    roots = [Path(numba.config.CACHE_DIR)] if numba.config.CACHE_DIR else []
    roots += [here / "__pycache__", _user_cache() / "medssm_monai"]
    candidates = (root / f"scan-{digest.hexdigest()[:16]}" for root in roots)
    return next((directory for directory in candidates if _is_writable(directory)), None)


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
        known = directory is not None and any(directory.rglob(f"*.{function.__name__}-*.nbi"))
        if not known:
            where = f"kept in {directory}" if directory else "no writable place to keep the result: set NUMBA_CACHE_DIR"
            _log.info("compiling the native scan (%s) for this processor, some seconds; %s", function.__name__, where)
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
