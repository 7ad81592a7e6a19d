"""Turns tensors into kernel launches: output buffers, shares of the work, sums of partial results in fixed order."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .params import CHANNEL_MULTIPLE, STATES, TILE, make_params, padded
from .threads import run_units, thread_count

__all__ = ["empty_forward", "packed", "run_forward", "state_parts"]


def packed(x: Tensor | None) -> Tensor | None:
    """``(G, E)`` -> ``(G, E')``, ``(G, E, N)`` -> ``(G, N', E')``: contiguous, zeros up to whole vectors and sweeps."""
    if x is None:
        return None
    if x.dim() == 2:
        return F.pad(x, (0, -x.shape[-1] % CHANNEL_MULTIPLE)).contiguous()
    return F.pad(x.transpose(1, 2), (0, -x.shape[1] % CHANNEL_MULTIPLE, 0, -x.shape[2] % STATES)).contiguous()


def state_parts(states: int, blocks: int, threads: int) -> int:
    """In how many parts the state is split so that there is work for all threads."""
    sweeps = padded(states, STATES) // STATES
    return next((p for p in range(1, sweeps + 1) if sweeps % p == 0 and blocks * p >= threads), sweeps)


def empty_forward(u: Tensor, A: Tensor, z: Tensor | None, save: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``out``, ``pre`` (output before the gate), the packed last state and the packed states at the tiles' beginnings.

    ``pre`` and the states between tiles are empty unless ``save``.
    """
    batch, groups, channels, length = u.shape
    state = (padded(A.shape[-1], STATES), padded(channels, CHANNEL_MULTIPLE))
    return (
        torch.empty_like(u),
        torch.empty_like(u) if save and z is not None else u.new_empty(0),
        u.new_empty(batch, groups, *state),
        u.new_empty((batch, groups, -(-length // TILE), *state) if save else 0),
    )


def run_forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    coef: Tensor | None,
    order: Tensor | None,
    flags: dict[str, int],
    save: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See :func:`empty_forward`; all tensors float32 on the CPU, canonical shapes, ``order`` contiguous int32."""
    from .kernels import forward_kernel
    from .places import WEIGHTS, weight_bytes
    from .shares import add_shares, empty_shares
    from .vector import LANES

    out, pre, last, bounds = empty_forward(u, A, z, save)
    batch, groups, channels, length = u.shape
    threads = thread_count(u.numel() * A.shape[-1])
    blocks = last.shape[-1] // LANES
    parts = state_parts(A.shape[-1], batch * groups * blocks, threads)
    split = parts > 1
    # Chunks share one read of B and C; enough of them for all threads, or as long as the state of their blocks is small.
    chunks = min(blocks, max(-(-4 * threads // (batch * groups)), -(-blocks // 8)))
    chunks = -(-blocks // -(-blocks // chunks))  # none of them empty
    memory, first = empty_shares(parts, out) if split else (None, out)
    sizes = {"batch": batch, "groups": groups, "channels": channels, "length": length, "states": A.shape[-1]}
    sizes |= {
        "padded_states": last.shape[-2],
        "blocks": blocks,
        "parts": parts,
        "chunks": chunks,
        "out_p": out.numel() * 4,
        **flags,
    }
    tensors = {"u": u, "delta": delta, "B": B, "C": C, "out": first, "last": last, "order": order}
    tensors |= {"A": packed(A), "coef": packed(coef), "bias": packed(bias), "D": packed(D)}
    if save:
        tensors["bounds"] = bounds
    if not split:
        tensors |= {"z": z, "pre": pre if pre.numel() else None}
    units = batch * groups * chunks * parts
    scratch = WEIGHTS + weight_bytes(last.shape[-2] // parts)
    run_units(forward_kernel(), make_params(sizes, tensors), scratch, units, threads)
    if split:
        add_shares(memory, out)
        if z is not None:
            if save:
                pre.copy_(out)
            out.mul_(F.silu(z))
    return out, pre, last, bounds
