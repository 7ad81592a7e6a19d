"""Launch of the backward kernel: output buffers, shares of the work, sums of partial gradients in fixed order."""

from __future__ import annotations

from torch import Tensor

from .kernels import backward_kernel
from .launch import state_parts
from .outputs import Inputs, empty_backward
from .params import make_params
from .places import WEIGHTS, accumulator_bytes, weight_bytes
from .shares import add_shares, empty_shares
from .threads import run_units, thread_count
from .vector import LANES

__all__ = ["run_backward"]


class _Sums:
    """Tensors that the kernel writes, each as ``shares`` parts to be added up, or directly where there is one."""

    def __init__(self) -> None:
        self.first: dict[str, Tensor] = {}
        self._pending: list[tuple[Tensor, Tensor]] = []

    def put(self, name: str, result: Tensor, shares: int) -> None:
        """Give the kernel a place for ``result``."""
        self.first[name] = result
        if shares > 1:
            memory, self.first[name] = empty_shares(shares, result)
            self._pending.append((memory, result))

    def add(self) -> None:
        """Add up all shares."""
        for memory, result in self._pending:
            add_shares(memory, result)


def _sums_over_tokens(x: Inputs, bounds: Tensor, parts: int, dlast: Tensor | None) -> dict[str, Tensor]:
    """Packed memory for sums over tokens; ``dlast`` also carries the gradient of the state from tile to tile."""
    state = bounds.shape[:2] + bounds.shape[3:]
    new = x.u.new_empty
    sums = {"dA": new(state), "dlast": new(state), "dD": new(state[0], state[1], state[3])}
    sums["dbias"] = new(parts, state[0], state[1], state[3])
    if x.coef is not None:
        sums["dcoef"] = new(state)
    if dlast is not None:
        sums["dlast"].copy_(dlast)
    return sums


def _chunks(x: Inputs, threads: int, blocks: int) -> int:
    """In how many chunks the channel blocks of a sample are split: one per thread, up to four if the memory for their
    shares of dB and dC stays below that of ``u``."""
    samples = x.u.shape[0] * x.u.shape[1]
    affordable = x.u.shape[2] // (2 * x.A.shape[-1])
    wanted = max(-(-threads // samples), min(-(-4 * threads // samples), affordable))
    return -(-blocks // -(-blocks // min(blocks, wanted)))  # none of them empty


def run_backward(
    dout: Tensor, dlast: Tensor | None, x: Inputs, pre: Tensor, bounds: Tensor, flags: dict[str, int]
) -> tuple[Tensor, ...]:
    """See :func:`empty_backward`; ``dlast``: gradient of the packed last state; ``pre``, ``bounds``: from forward."""
    samples, (states, channels) = x.u.shape[0] * x.u.shape[1], (x.A.shape[-1], x.u.shape[2])
    padded_states, padded_channels = bounds.shape[-2:]
    threads = thread_count(x.u.numel() * states)
    blocks = padded_channels // LANES
    parts = state_parts(states, samples * blocks, threads)
    chunks = _chunks(x, threads, blocks)

    du, ddelta, dA, dB, dC, dD, dz, dbias, dcoef = empty_backward(x)
    sums = _sums_over_tokens(x, bounds, parts, dlast)
    shared = _Sums()
    for name, result, shares in (("du", du, parts), ("ddelta", ddelta, parts), ("dB", dB, chunks), ("dC", dC, chunks)):
        shared.put(name, result, shares)
    sizes = {"blocks": blocks, "parts": parts, "chunks": chunks, "weights_s": dB.numel() * 4}
    sizes |= {"ddelta_p": ddelta.numel() * 4, "du_p": du.numel() * 4, "dbias_p": sums["dD"].numel() * 4}
    tensors = {"dout": dout, "bounds": bounds, **sums, **shared.first}
    if x.z is not None:
        tensors |= {"z": x.z, "dz": dz, "pre": pre}
    params = make_params(x.sizes(flags) | sizes | {"has_dlast": dlast is not None}, kept := x.tensors() | tensors)
    scratch = WEIGHTS + weight_bytes(padded_states // parts) + accumulator_bytes(padded_states // parts)
    run_units(backward_kernel(), params, scratch, samples * chunks * parts, threads)
    del kept  # the kernels know addresses only: the packed copies had to live until here

    shared.add()
    for name, result in (("dA", dA), ("dcoef", dcoef)):
        if result.numel():
            result.copy_(add_shares(sums[name])[:, :states, :channels].transpose(-1, -2))
    for name, result in (("dD", dD), ("dbias", dbias)):
        if result.numel():
            result.copy_(add_shares(sums[name].flatten(0, -3))[:, :channels])
    return du, ddelta, dA, dB, dC, dD, dz, dbias, dcoef
