"""Launch of the backward kernel: output buffers, shares of the work, sums of partial gradients in fixed order."""

from __future__ import annotations

import torch
from torch import Tensor

from .launch import packed, state_parts
from .params import make_params
from .threads import run_units, thread_count

__all__ = ["empty_backward", "run_backward"]


def _like_weights(x: Tensor) -> Tensor:
    """Memory for dB or dC ``(B, G, N, L)``, by tokens or by states as ``x`` is; dense even where ``x`` is expanded."""
    batch, groups, states, length = x.shape
    if x.stride(-1) == 1:
        return x.new_empty(batch, groups, states, length)
    return x.new_empty(batch, groups, length, states).transpose(-1, -2)


def empty_backward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    coef: Tensor | None,
) -> tuple[Tensor, ...]:
    """Gradients of ``u, delta, A, B, C, D, z, bias, coef``; empty tensors where there is nothing to differentiate."""
    return (
        torch.empty_like(u),
        torch.empty_like(delta),
        u.new_empty(A.shape),
        _like_weights(B),
        _like_weights(C),
        u.new_empty(0) if D is None else u.new_empty(A.shape[:-1]),
        u.new_empty(0) if z is None else torch.empty_like(z),
        u.new_empty(A.shape[:-1]),
        u.new_empty(0) if coef is None else u.new_empty(A.shape),
    )


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
    from .kernels import backward_kernel
    from .places import WEIGHTS, accumulator_bytes, weight_bytes
    from .shares import add_shares, empty_shares
    from .vector import LANES

    batch, groups, channels, length = u.shape
    states, (padded_states, padded_channels) = A.shape[-1], bounds.shape[-2:]
    threads = thread_count(u.numel() * states)
    blocks = padded_channels // LANES
    parts = state_parts(states, batch * groups * blocks, threads)
    chunks = min(blocks, -(-threads // (batch * groups))) if parts == 1 else blocks
    chunks = -(-blocks // -(-blocks // chunks))  # none of them empty

    du, ddelta = torch.empty_like(u), torch.empty_like(delta)
    step_memory, step_share = empty_shares(parts, ddelta) if parts > 1 else (None, ddelta)
    input_memory, input_share = empty_shares(parts, du) if parts > 1 else (None, du)
    sums = {name: u.new_empty(batch, groups, padded_states, padded_channels) for name in ("dA", "dlast")}
    if coef is not None:
        sums["dcoef"] = torch.empty_like(sums["dA"])
    if dlast is not None:
        sums["dlast"].copy_(dlast)
    sums["dD"] = u.new_empty(batch, groups, padded_channels)
    sums["dbias"] = u.new_empty(parts, batch, groups, padded_channels)
    dB, dC = _like_weights(B), _like_weights(C)
    B_memory, B_share = empty_shares(chunks, dB) if chunks > 1 else (None, dB)
    C_memory, C_share = empty_shares(chunks, dC) if chunks > 1 else (None, dC)
    dz = None if z is None else torch.empty_like(z)

    sizes = {"batch": batch, "groups": groups, "channels": channels, "length": length, "states": states}
    sizes |= {"padded_states": padded_states, "blocks": blocks, "parts": parts, "chunks": chunks, **flags}
    sizes |= {"ddelta_p": ddelta.numel() * 4, "du_p": du.numel() * 4, "dbias_p": sums["dD"].numel() * 4}
    sizes |= {"weights_s": dB.numel() * 4, "has_dlast": dlast is not None}
    tensors = {"u": u, "delta": delta, "B": B, "C": C, "z": z, "order": order, "dout": dout, "bounds": bounds, **sums}
    tensors |= {"A": packed(A), "coef": packed(coef), "D": packed(D), "bias": packed(bias)}
    tensors |= {"du": input_share, "ddelta": step_share, "dz": dz, "pre": None if z is None else pre}
    tensors |= {"dB": B_share, "dC": C_share}
    units = batch * groups * chunks * parts
    scratch = WEIGHTS + weight_bytes(padded_states // parts) + accumulator_bytes(padded_states // parts)
    run_units(backward_kernel(), make_params(sizes, tensors), scratch, units, threads)

    if parts > 1:
        add_shares(step_memory, ddelta)
        add_shares(input_memory, du)
    if chunks > 1:
        add_shares(B_memory, dB)
        add_shares(C_memory, dC)

    def per_state(name: str) -> Tensor:
        return add_shares(sums[name])[:, :states, :channels].transpose(-1, -2).contiguous()

    def per_channel(name: str) -> Tensor:
        return add_shares(sums[name].flatten(0, -3))[:, :channels].contiguous()

    return (
        du,
        ddelta,
        per_state("dA"),
        dB,
        dC,
        u.new_empty(0) if D is None else per_channel("dD"),
        u.new_empty(0) if z is None else dz,
        per_channel("dbias"),
        u.new_empty(0) if coef is None else per_state("dcoef"),
    )
