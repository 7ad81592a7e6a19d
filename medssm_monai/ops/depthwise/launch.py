"""Launches the kernels of the depthwise convolution."""

from __future__ import annotations

from array import array

import torch
from torch import Tensor

from ..backends.native.eager import named
from ..backends.native.packing import Copies, packed
from ..backends.native.records import padded
from ..backends.native.thread_pool import run_units, thread_count
from ..backends.native.vector import LANES
from .kernel import FIELDS, FORWARD, INNER, OUTER, depthwise_kernel

__all__ = ["run", "weight_gradients"]

RUNS = 8
"""Partial sums of a weight's gradient."""

_TASKS = {"forward": FORWARD, "inner": INNER, "outer": OUTER}


def run(
    task: str,
    tensors: dict[str, Tensor],
    table: Tensor,
    weight: Tensor,
    bias: Tensor,
    activation: bool = False,
    runs: int = 0,
    sums: int = 0,
) -> None:
    """One launch.

    Args:
        task: ``"forward"``, ``"inner"`` or ``"outer"``.
        tensors: of ``x (B, L, C)``, ``out``, ``grad`` and ``pre (B, L, G, C)`` those that the task reads or writes;
            ``out`` of task ``"outer"`` has no ``G``.
        table: ``(G, L, K)``.
        weight, bias: ``(G, C, K)``, ``(G, C)``.
        activation: SiLU.
        runs: parts of the places; 0: as many as the threads want.
        sums: address of the partial sums ``(runs, G, K + 1, C')`` of task ``"inner"``.
    """
    some = next(iter(tensors.values()))
    batch, length, channels = some.shape[0], some.shape[1], some.shape[-1]
    groups, _, taps = weight.shape
    threads = thread_count(batch * length * channels * groups * taps // 8)
    samples = batch if task == "outer" else batch * groups
    runs, size = _parts(length, runs or max(1, -(-4 * threads // samples) if threads > 1 else 1))
    values = {"task": _TASKS[task], "batch": batch, "groups": groups, "length": length, "channels": channels}
    values |= {"taps": taps, "activation": int(activation), "run": size, "runs": runs, "sums": sums}
    values["sums_step"] = 4 * groups * (taps + 1) * padded(channels, LANES)
    weights, kept = packed({"weight": weight, "bias": bias}, multiple=1)
    values |= weights | {"table": table.data_ptr()}
    for name, tensor in tensors.items():
        steps = tensor.stride()
        values[name] = tensor.data_ptr()
        values |= {f"{name}_b": 4 * steps[0], f"{name}_t": 4 * steps[1], f"{name}_g": 4 * steps[2]}
    params = array("q", [values.get(name, 0) for name in FIELDS])
    scratch = 4 * padded(channels, LANES) + 32 * groups * taps  # zeros, addresses of the neighbors of four places
    with named("medssm::depthwise"):
        run_units(depthwise_kernel(), params, scratch, runs if task == "inner" else samples * runs, threads)
    del kept  # the kernel knows addresses only


def _parts(length: int, wanted: int) -> tuple[int, int]:
    """How many parts of how many places, none of them empty."""
    size = -(-length // min(length, wanted))
    return -(-length // size), size


def weight_gradients(
    tensors: dict[str, Tensor], table: Tensor, weight: Tensor, bias: Tensor, activation: bool
) -> tuple[Tensor, Tensor]:
    """Task ``"inner"``, and its sums over the runs: gradients of ``weight`` and ``bias``."""
    groups, channels, taps = weight.shape
    width = padded(channels, LANES)
    runs, _ = _parts(table.shape[1], RUNS)
    sums = torch.empty((runs, groups, taps + 1, width), dtype=torch.float32)
    run("inner", tensors, table, weight, bias, activation, RUNS, sums.data_ptr())
    dweight, dbias = sums.new_empty(weight.shape), sums.new_empty(bias.shape)
    copies, step, at = Copies(), (taps + 1) * width, sums.data_ptr()
    added = runs, groups * step
    copies.add(dweight.data_ptr(), (channels * taps, taps), at, (step, 1, width), (groups, channels, taps), sums=added)
    at += 4 * taps * width
    copies.add(dbias.data_ptr(), (channels, channels), at, (step, 0, 1), (groups, 1, channels), sums=added)
    copies.run()
    return dweight, dbias
