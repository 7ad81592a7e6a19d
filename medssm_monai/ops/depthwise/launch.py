"""Launches the kernels of the depthwise convolution."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..backends.native.eager import named
from ..backends.native.records import pack, padded
from ..backends.native.thread_pool import run_units, thread_count
from ..backends.native.vector import LANES
from .kernel import FIELDS, FORWARD, INNER, OUTER, RECORD, depthwise_kernel

__all__ = ["run"]

_TASKS = {"forward": FORWARD, "inner": INNER, "outer": OUTER}


def run(
    task: str,
    tensors: dict[str, Tensor],
    table: Tensor,
    weight: Tensor,
    bias: Tensor,
    activation: bool = False,
    runs: int = 0,
) -> Tensor:
    """One launch; returns the partial sums ``(runs, G * (K + 1) * C')`` of task ``"inner"``.

    Args:
        task: ``"forward"``, ``"inner"`` or ``"outer"``.
        tensors: of ``x (B, L, C)``, ``out``, ``grad`` and ``pre (B, L, G, C)`` those that the task reads or writes;
            ``out`` of task ``"outer"`` has no ``G``.
        table: ``(G, L, K)``.
        weight, bias: ``(G, C, K)``, ``(G, C)``.
        activation: SiLU.
        runs: parts of the places; 0: as many as the threads want.
    """
    some = next(iter(tensors.values()))
    batch, length, channels = some.shape[0], some.shape[1], some.shape[-1]
    groups, _, taps = weight.shape
    threads = thread_count(batch * length * channels * groups * taps // 8)
    samples = batch if task == "outer" else batch * groups
    runs = min(length, runs or max(1, -(-4 * threads // samples) if threads > 1 else 1))
    size = -(-length // runs)
    runs = -(-length // size)
    width = groups * (taps + 1) * padded(channels, LANES)
    sums = torch.empty(runs if task == "inner" else 0, width, dtype=torch.float32)
    values = {"task": _TASKS[task], "batch": batch, "groups": groups, "length": length, "channels": channels}
    values |= {"taps": taps, "activation": int(activation), "run": size, "runs": runs, "sums_step": 4 * width}
    addresses = {**tensors, "table": table, "weight": pack(weight, 1), "bias": pack(bias), "sums": sums}
    values |= {name: x.data_ptr() for name, x in addresses.items() if x is not None}
    for name, tensor in tensors.items():
        steps = [4 * step for step in tensor.stride()]
        values |= {f"{name}_b": steps[0], f"{name}_t": steps[1], f"{name}_g": steps[2]}
    params = np.array([values.get(name, 0) for name in FIELDS], np.int64).view(RECORD)
    with named("medssm::depthwise"):
        scratch = 4 * padded(channels, LANES) + 32 * groups * taps  # zeros, addresses of the neighbors of four places
        run_units(depthwise_kernel(), params, scratch, runs if task == "inner" else samples * runs, threads)
    return sums
