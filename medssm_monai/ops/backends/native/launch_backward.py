"""Launch of the backward kernel: output buffers, shares of the work, sums of partial gradients in fixed order."""

from __future__ import annotations

import torch
from torch import Tensor

from .launch import packed, state_parts
from .params import make_params, padded
from .threads import run_units, thread_count

__all__ = ["empty_backward", "run_backward"]


def empty_backward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, D: Tensor | None, z: Tensor | None, coef: Tensor | None
) -> tuple[Tensor, ...]:
    """Gradients of ``u, delta, A, B, C, D, z, bias, coef``; empty tensors where there is nothing to differentiate."""
    return (
        torch.empty_like(u),
        torch.empty_like(delta),
        u.new_empty(A.shape),
        u.new_empty(B.shape),
        u.new_empty(B.shape),
        u.new_empty(0) if D is None else u.new_empty(A.shape[:-1]),
        u.new_empty(0) if z is None else torch.empty_like(z),
        u.new_empty(A.shape[:-1]),
        u.new_empty(0) if coef is None else u.new_empty(A.shape),
    )


def _state_sum(x: Tensor, like: Tensor) -> Tensor:
    """``(B, G, N', E')`` -> ``(G, E, N)``, contiguous, summed over samples."""
    channels, states = like.shape[-2:]
    return x[:, :, :states, :channels].sum(0).transpose(-1, -2).contiguous()


def _token_sum(x: Tensor, part_states: int, states: int) -> Tensor:
    """Shares ``(chunk, B, G, L, part, lanes)`` of dB or dC -> ``(B, G, N, L)``, contiguous."""
    return x.sum(0)[..., :part_states].flatten(-2)[..., :states].transpose(-1, -2).contiguous()


def run_backward(
    dout: Tensor,
    dlast: Tensor | None,
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
    pre: Tensor,
    bounds: Tensor,
    flags: dict[str, int],
) -> tuple[Tensor, ...]:
    """See :func:`empty_backward`; ``dlast``: gradient of the packed last state; ``pre``, ``bounds`` are saved ones."""
    from .backward import backward_scratch
    from .kernels import backward_kernel
    from .vector import LANES

    du, ddelta, dA, _, _, dD, dz, dbias, dcoef = empty_backward(u, delta, A, B, D, z, coef)
    batch, groups, channels, length = u.shape
    states, (padded_states, padded_channels) = A.shape[-1], bounds.shape[-2:]
    threads = thread_count(u.numel() * states)
    blocks = padded_channels // LANES
    parts = state_parts(states, batch * groups * blocks, threads)
    chunks = min(blocks, -(-threads // (batch * groups))) if parts == 1 else blocks
    part_states = padded_states // parts
    split = parts > 1
    step_shares = u.new_empty(parts, *u.shape) if split else ddelta[None]
    input_shares = u.new_empty(parts, *u.shape) if split else du[None]
    sums = u.new_zeros if chunks * -(-blocks // chunks) != blocks else u.new_empty
    dB, dC = (sums(chunks, batch, groups, length, parts, padded(part_states, LANES)) for _ in range(2))
    dA_sum = torch.zeros_like(bounds[:, :, 0])
    dh = torch.zeros_like(dA_sum) if dlast is None else dlast.clone(memory_format=torch.contiguous_format)
    dD_sum = u.new_zeros(batch, groups, padded_channels)
    dbias_sum = u.new_zeros(parts, batch, groups, padded_channels)
    dcoef_sum = None if coef is None else torch.zeros_like(dA_sum)

    sizes = {"batch": batch, "groups": groups, "channels": channels, "length": length, "states": states}
    sizes |= {"padded_states": padded_states, "blocks": blocks, "parts": parts, "chunks": chunks, **flags}
    sizes |= {"ddelta_p": step_shares.stride(0) * 4, "du_p": input_shares.stride(0) * 4}
    sizes |= {"dbias_p": dbias_sum.stride(0) * 4}
    tensors = {"u": u, "delta": delta, "B": B, "C": C, "z": z, "order": order, "dout": dout, "bounds": bounds}
    tensors |= {"A": packed(A), "coef": packed(coef), "D": packed(D), "bias": packed(bias)}
    tensors |= {"du": input_shares[0], "ddelta": step_shares[0], "dB": dB, "dC": dC, "dA": dA_sum, "dD": dD_sum}
    tensors |= {"dbias": dbias_sum, "dcoef": dcoef_sum, "dlast": dh}
    if z is not None:
        tensors |= {"pre": pre, "dz": dz}
    units = batch * groups * chunks * parts
    run_units(backward_kernel(), make_params(sizes, tensors), backward_scratch(part_states), units, threads)

    if split:
        torch.sum(step_shares, 0, out=ddelta)
        torch.sum(input_shares, 0, out=du)
    dA.copy_(_state_sum(dA_sum, A))
    if coef is not None:
        dcoef.copy_(_state_sum(dcoef_sum, A))
    if D is not None:
        dD.copy_(dD_sum[..., :channels].sum(0))
    dbias.copy_(dbias_sum[..., :channels].sum((0, 1)))
    dB, dC = _token_sum(dB, part_states, states), _token_sum(dC, part_states, states)
    return du, ddelta, dA, dB, dC, dD, dz, dbias, dcoef
