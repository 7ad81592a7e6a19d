"""Turns tensors into kernel launches: output buffers, shares of the work, sums of partial results in fixed order."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from .kernels import forward_kernel
from .outputs import Inputs, empty_forward
from .params import STATES, make_params, padded
from .places import WEIGHTS, weight_bytes
from .shares import add_shares, empty_shares
from .threads import run_units, thread_count
from .vector import LANES

__all__ = ["run_forward", "state_parts"]


def state_parts(states: int, blocks: int, threads: int) -> int:
    """In how many parts the state is split so that there is work for all threads."""
    sweeps = padded(states, STATES) // STATES
    return next((p for p in range(1, sweeps + 1) if sweeps % p == 0 and blocks * p >= threads), sweeps)


def _check_positions(order: Tensor) -> None:
    """The kernels address memory with these numbers."""
    table = order.numpy()
    if table.min() < 0 or table.max() >= table.shape[-1]:
        raise ValueError(f"order must hold positions 0..{table.shape[-1] - 1}, got {table.min()}..{table.max()}")


def run_forward(x: Inputs, flags: dict[str, int], save: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Launch the forward kernel; see :func:`empty_forward` for what comes back."""
    if x.order is not None:
        _check_positions(x.order)
    out, pre, last, bounds = empty_forward(x, save)
    samples = x.u.shape[0] * x.u.shape[1]
    threads = thread_count(x.u.numel() * x.A.shape[-1])
    blocks = last.shape[-1] // LANES
    parts = state_parts(x.A.shape[-1], samples * blocks, threads)
    # Chunks share one read of B and C: enough of them for all threads, and not so many blocks that their states leave
    # the cache.
    chunks = min(blocks, max(-(-4 * threads // samples), -(-blocks // 8)))
    chunks = -(-blocks // -(-blocks // chunks))  # none of them empty
    split = parts > 1
    memory, share = empty_shares(parts, out) if split else (None, out)
    sizes = {"blocks": blocks, "parts": parts, "chunks": chunks, "out_p": out.numel() * 4}
    tensors = {"out": share, "last": last, "bounds": bounds if save else None}
    if not split:
        tensors |= {"z": x.z, "pre": pre if pre.numel() else None}
    params = make_params(x.sizes(flags) | sizes, kept := x.tensors() | tensors)
    scratch = WEIGHTS + weight_bytes(last.shape[-2] // parts)
    run_units(forward_kernel(), params, scratch, samples * chunks * parts, threads)
    del kept  # the kernels know addresses only: the packed copies had to live until here
    if split:
        add_shares(memory, out)
        if x.z is not None:
            if save:
                pre.copy_(out)
            out.mul_(F.silu(x.z))
    return out, pre, last, bounds
