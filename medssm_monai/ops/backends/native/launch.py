"""From tensors to launches: output buffers, division of the work, partial sums added up in fixed order."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...arguments import ScanArguments
from .backward import backward_kernel
from .forward import forward_kernel
from .packing import add_over_samples, packed
from .records import STATES, TILE, input_sizes, make_params, padded
from .reduce import add_partial_sums
from .thread_pool import run_units, thread_count
from .tiles import WEIGHTS, accumulator_bytes, weight_bytes
from .vector import LANES

__all__ = [
    "empty_backward",
    "empty_forward",
    "forward_division",
    "forward_scratch",
    "run_backward",
    "run_forward",
    "scan_sizes",
    "sums_over_tokens",
]


def _state_parts(states: int, blocks: int, threads: int) -> int:
    """In how many parts the state is split so that there is work for all threads."""
    sweeps = padded(states, STATES) // STATES
    return next((p for p in range(1, sweeps + 1) if sweeps % p == 0 and blocks * p >= threads), sweeps)


class _PartialSums:
    """Tensors that a kernel writes: each in ``parts`` partial sums to be added up, or directly where there is one."""

    def __init__(self) -> None:
        self.first: dict[str, Tensor] = {}
        self._pending: list[tuple[Tensor, Tensor]] = []

    def put(self, name: str, result: Tensor, parts: int) -> None:
        """Give the kernel memory for ``result``."""
        self.first[name] = result
        if parts > 1:
            memory = torch.empty(parts, result.numel(), dtype=torch.float32)
            self.first[name] = memory[0].as_strided(result.shape, result.stride())
            self._pending.append((memory, result))

    def add(self) -> None:
        """Add up all partial sums."""
        for memory, result in self._pending:
            add_partial_sums(memory, result)


def _inputs(args: ScanArguments) -> dict[str, Tensor | None]:
    """Inputs that both passes read where they lie."""
    return {"u": args.u, "delta": args.delta, "B": args.B, "C": args.C, "order": args.order}


def _weights(args: ScanArguments, coef: Tensor | None) -> tuple[dict[str, int], tuple[Tensor, ...]]:
    return packed({"A": args.A, "D": args.D, "bias": args.delta_bias, "coef": coef})


def scan_sizes(args: ScanArguments) -> dict[str, int]:
    """Entries of the argument record that both passes share."""
    return input_sizes(args.u.shape, args.A.shape[-1], args.delta_softplus, args.discretization)


def empty_forward(args: ScanArguments, save: bool) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
    """``out``, ``pre`` (output before the gate), the packed last state and the packed states at the tiles' beginnings.

    ``pre`` and the states between tiles are None unless ``save``; there is no ``pre`` without a gate.
    """
    batch, groups, channels, length = args.u.shape
    state = (padded(args.A.shape[-1], STATES), padded(channels, LANES))
    return (
        torch.empty_like(args.u),
        torch.empty_like(args.u) if save and args.z is not None else None,
        args.u.new_empty((batch, groups, *state)),
        args.u.new_empty((batch, groups, -(-length // TILE), *state)) if save else None,
    )


def forward_division(args: ScanArguments) -> tuple[int, int, dict[str, int]]:
    """Threads, units of work, and how the channels and states of a sample are shared out among them."""
    batch, groups, channels, _ = args.u.shape
    samples, states, blocks = batch * groups, args.A.shape[-1], padded(channels, LANES) // LANES
    threads = thread_count(args.u.numel() * states)
    parts = _state_parts(states, samples * blocks, threads)
    # Chunks share one read of B and C: enough of them for all threads, and not so many blocks that their states leave
    # the cache.
    chunks = min(blocks, max(-(-4 * threads // samples), -(-blocks // 8)))
    chunks = -(-blocks // -(-blocks // chunks))  # none of them empty
    return threads, samples * chunks * parts, {"blocks": blocks, "parts": parts, "chunks": chunks}


def forward_scratch(args: ScanArguments, parts: int) -> int:
    """Bytes of scratch memory that a thread of the forward kernel wants."""
    return WEIGHTS + weight_bytes(padded(args.A.shape[-1], STATES) // parts)


def run_forward(
    args: ScanArguments, coef: Tensor | None, save: bool
) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
    """Launch the forward kernel; returns what :func:`empty_forward` names.

    ``args``: float32 on the CPU, B and C varying, ``order`` contiguous int32 and checked (:mod:`.positions`).
    """
    out, pre, last, bounds = empty_forward(args, save)
    threads, units, division = forward_division(args)
    parts = division["parts"]
    partial = _PartialSums()
    partial.put("out", out, parts)
    sizes = scan_sizes(args) | division | {"out_p": out.numel() * 4}
    weights, kept = _weights(args, coef)  # kernels know addresses only: what is kept must live until they are done
    tensors = {**_inputs(args), **partial.first, "last": last, "bounds": bounds}
    if parts == 1:
        tensors |= {"z": args.z, "pre": pre}
    scratch = forward_scratch(args, parts)
    run_units(forward_kernel(), make_params(sizes | weights, tensors), scratch, units, threads)
    del kept
    partial.add()
    if parts > 1 and args.z is not None:
        if pre is not None:
            pre.copy_(out)
        out.mul_(F.silu(args.z))
    return out, pre, last, bounds


def _like_weights(x: Tensor) -> Tensor:
    """Memory for dB or dC ``(B, G, N, L)``, by tokens or by states as ``x`` is; dense even where ``x`` is expanded."""
    batch, groups, states, length = x.shape
    if x.stride(-1) == 1:
        return x.new_empty(batch, groups, states, length)
    return x.new_empty(batch, groups, length, states).transpose(-1, -2)


def empty_backward(args: ScanArguments, coef: Tensor | None) -> tuple[Tensor, ...]:
    """Gradients of ``args.tensors`` and ``coef``; empty tensors where there is nothing to differentiate."""
    new = args.u.new_empty
    return (
        torch.empty_like(args.u),
        torch.empty_like(args.delta),
        new(args.A.shape),
        _like_weights(args.B),
        _like_weights(args.C),
        new(0) if args.D is None else new(args.D.shape),
        new(0) if args.z is None else torch.empty_like(args.z),
        new(0) if args.delta_bias is None else new(args.delta_bias.shape),
        new(0) if coef is None else new(coef.shape),
    )


def sums_over_tokens(
    args: ScanArguments, coef: Tensor | None, bounds: Tensor, parts: int, dlast: Tensor | None
) -> dict[str, Tensor]:
    """Packed memory for sums over tokens; ``dlast`` also carries the gradient of the state from tile to tile."""
    batch, groups, _, states, channels = bounds.shape
    state, channel = batch * groups * states * channels, batch * groups * channels
    sizes = {
        "dA": state,
        "dlast": state,
        "dD": channel,
        "dbias": parts * channel,
        "dcoef": 0 if coef is None else state,
    }
    memory = torch.empty(sum(sizes.values()), dtype=torch.float32).split(list(sizes.values()))  # one allocation
    sums = dict(zip(sizes, memory, strict=True))
    if dlast is not None:
        sums["dlast"].view(dlast.shape).copy_(dlast)
    return sums


def _backward_chunks(args: ScanArguments, threads: int, blocks: int) -> int:
    """In how many chunks the channel blocks of a sample are split.

    One per thread, up to four if the memory for their partial dB and dC stays below that of ``u``.
    """
    samples = args.u.shape[0] * args.u.shape[1]
    affordable = args.u.shape[2] // (2 * args.A.shape[-1])
    wanted = max(-(-threads // samples), min(-(-4 * threads // samples), affordable))
    return -(-blocks // -(-blocks // min(blocks, wanted)))  # none of them empty


def run_backward(
    args: ScanArguments, coef: Tensor | None, dout: Tensor, dlast: Tensor | None, pre: Tensor | None, bounds: Tensor
) -> tuple[Tensor, ...]:
    """Launch the backward kernel; returns what :func:`empty_backward` names.

    ``dlast``: gradient of the packed last state; ``pre``, ``bounds``: from the forward pass.
    """
    samples, states = args.u.shape[0] * args.u.shape[1], args.A.shape[-1]
    padded_states, padded_channels = bounds.shape[-2:]
    threads = thread_count(args.u.numel() * states)
    blocks = padded_channels // LANES
    parts = _state_parts(states, samples * blocks, threads)
    chunks = _backward_chunks(args, threads, blocks)

    du, ddelta, dA, dB, dC, dD, dz, dbias, dcoef = empty_backward(args, coef)
    sums = sums_over_tokens(args, coef, bounds, parts, dlast)
    partial = _PartialSums()
    for name, result, count in (("du", du, parts), ("ddelta", ddelta, parts), ("dB", dB, chunks), ("dC", dC, chunks)):
        partial.put(name, result, count)
    sizes = scan_sizes(args) | {"has_dlast": int(dlast is not None)}
    sizes |= {"blocks": blocks, "parts": parts, "chunks": chunks, "weights_s": dB.numel() * 4}
    sizes |= {"ddelta_p": ddelta.numel() * 4, "du_p": du.numel() * 4, "dbias_p": samples * padded_channels * 4}
    weights, kept = _weights(args, coef)
    tensors: dict[str, Tensor | None] = {**_inputs(args), "dout": dout, "bounds": bounds, **sums, **partial.first}
    if args.z is not None:
        tensors |= {"z": args.z, "dz": dz, "pre": pre}
    scratch = WEIGHTS + weight_bytes(padded_states // parts) + accumulator_bytes(padded_states // parts)
    run_units(backward_kernel(), make_params(sizes | weights, tensors), scratch, samples * chunks * parts, threads)
    del kept

    partial.add()
    results = (("dA", dA), ("dcoef", dcoef), ("dD", dD), ("dbias", dbias))
    add_over_samples([(sums[name], result) for name, result in results if result.numel()], padded_channels)
    return du, ddelta, dA, dB, dC, dD, dz, dbias, dcoef
