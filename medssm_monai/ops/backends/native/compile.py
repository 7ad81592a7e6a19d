"""Compiles kernels on first use and keeps the machine code on disk. Knows no kernel: each compiles itself with this."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from ....utils.user_cache import is_writable, user_cache

__all__ = ["Kernel", "cache_directory", "compiled"]

_log = logging.getLogger(__name__)
_lock = threading.RLock()
Kernel = Callable[[int], None]
"""A C function that takes an address; Python waits for it without the interpreter lock."""


def cache_directory() -> Path | None:
    """Where machine code is kept; None if there is no folder for it.

    ``NUMBA_CACHE_DIR``, beside this file, or the user's cache: the first that can be written. The last part of the
    name is a digest of the kernels' source: Numba itself only notices a change of the file that holds the outermost
    function.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted((*here.glob("*.py"), *here.parents[1].glob("*/kernel*.py"))):
        digest.update(source.read_bytes())
    configured = getattr(numba.config, "CACHE_DIR", "")
    roots = [Path(configured)] if configured else []
    roots.append(here / "__pycache__")
    name = f"scan-{digest.hexdigest()[:16]}"
    for root in roots:
        if is_writable(root / name):
            return root / name
    cache = user_cache()
    return cache / name if cache is not None and is_writable(cache / name) else None


def _announce(what: str, seconds: int, directory: Path | None) -> None:
    """Say that the program waits. A warning, since in plain Python, without logging set up, others are not seen."""
    _log.warning(
        "compiling %s for this processor, about %d s, longer on a busy machine; %s",
        what,
        seconds,
        f"once: the result is kept in {directory}"
        if directory
        else "again in every process, since there is no folder to keep it: set NUMBA_CACHE_DIR to one of your own",
    )


def _compile(function: Callable[[int], None], seconds: int = 0, what: str = "") -> Kernel:
    directory = cache_directory()
    if seconds and (directory is None or not any(directory.rglob(f"*.{function.__name__}-*.nbi"))):
        _announce(what, seconds, directory)
    settings: Any = numba.config  # made at run time, from the environment
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(directory or before)
    start = time.perf_counter()
    try:
        kernel = numba.cfunc("void(int64)", error_model="numpy", cache=directory is not None)(function)
    finally:
        settings.CACHE_DIR = before
    _log.debug("%s ready after %.2f s", function.__name__, time.perf_counter() - start)
    return kernel.ctypes


def compiled(function: Callable[[int], None], seconds: int = 0, what: str = "") -> Callable[[], Kernel]:
    """``function(call)``, to be compiled when the result is first called.

    Args:
        function: a kernel in plain Python. ``call``: see :mod:`.call`.
        seconds: how long compiling takes with an empty cache, on an idle core of an AMD EPYC server; from 1 on a
            warning says so beforehand.
        what: the kernel's name in that warning.
    """
    kernels: list[Kernel] = []

    def kernel() -> Kernel:
        if not kernels:
            with _lock:
                if not kernels:
                    kernels.append(_compile(function, seconds, what))
        return kernels[0]

    return kernel
