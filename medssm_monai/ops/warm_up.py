"""Compile the selective scan and the fused layers around it ahead, so that no later program waits for them.

    python -m medssm_monai.ops.warm_up

Runs a small scan, forward and backward, in the usual precisions, on the CPU and on the GPU where there is one, and
compiles the CPU's other kernels. Says where the machine code is kept. Exit status: 0 when it is kept, 1 when there is
no folder to keep it, so that every program compiles anew (NUMBA_CACHE_DIR names one).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from .scan import selective_scan
from .selection import backend_for

__all__ = ["main", "warm_up"]

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def warm_up(device: str | torch.device = "cpu") -> str:
    """Run a small scan, forward and backward, in every precision; returns the name of the backend of ``float32``."""
    for dtype in DTYPES:
        u, delta, b, c = (torch.rand(1, size, 32, device=device).to(dtype).requires_grad_() for size in (8, 8, 4, 4))
        a = (-torch.rand(8, 4, device=device)).requires_grad_()
        y = selective_scan(u, delta, a, b, c)
        assert isinstance(y, torch.Tensor)
        y.float().sum().backward()
    backend = backend_for(torch.empty(1, device=device))
    if backend == "native":
        _compile_fused_layers()
    return backend


def _compile_fused_layers() -> None:
    from .backends.native.packing import copy_kernel
    from .backends.native.reduce import add_kernel
    from .depthwise.kernel import depthwise_kernel
    from .spectral.kernel import spectral_kernel
    from .tokenwise.kernel import token_kernel
    from .tokenwise.kernel_sums import sums_kernel

    for kernel in (add_kernel, copy_kernel, depthwise_kernel, spectral_kernel, token_kernel, sums_kernel):
        kernel()


def _kept_in() -> Path | None:
    from .backends.native.compile import cache_directory

    return cache_directory()


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    argparse.ArgumentParser(
        prog="python -m medssm_monai.ops.warm_up",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
    kept = True
    for device in ("cpu", *(("cuda",) if torch.cuda.is_available() else ())):
        start = time.perf_counter()
        backend = warm_up(device)
        print(f"{device}: backend {backend} is ready, {time.perf_counter() - start:.1f} s")
        if backend == "native":
            folder = _kept_in()
            kept = folder is not None
            print(f"machine code is kept in {folder}" if kept else "machine code is not kept: set NUMBA_CACHE_DIR")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
