"""Seconds of a call and peak memory of this process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

__all__ = ["high_water", "timed"]


def timed(function: Callable[[], object], device: str) -> float:
    """Seconds of one call."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def high_water() -> int:
    """Peak resident bytes of this process."""
    status = Path("/proc/self/status")
    if status.exists():  # not getrusage here: Linux hands a parent's peak on to the programs that it starts
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
