"""Launches the kernels of the depthwise convolution."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..backends.native.eager import named
from ..backends.native.thread_pool import run_units, thread_count
from ..backends.native.vector import LANES
from .kernel import FIELDS, FORWARD, INNER, OUTER, RECORD, depthwise_kernel

__all__ = ["padding", "run"]

_INDEX = {name: i for i, name in enumerate(FIELDS)}
_TASKS = {"forward": FORWARD, "inner": INNER, "outer": OUTER}


def padding(channels: int) -> int:
    """Channels that are missing for whole vectors."""
    return -channels % LANES


def run(
    task: str,
    x: Tensor | None,
    out: Tensor | None,
    gradient: Tensor | None,
    inner: Tensor | None,
    table: Tensor,
    weight: Tensor,
    bias: Tensor,
    fields: dict[str, int],
    runs: int = 0,
) -> Tensor:
    """One launch; returns the partial sums ``(runs, ...)`` of task ``"inner"``.

    ``x (B, L, C)``, ``out``, ``gradient`` and ``inner (B, L, G, C)``; ``out`` of task ``"outer"`` has no ``G``.
    """
    some = next(t for t in (x, out, gradient, inner) if t is not None)
    batch, length, channels = some.shape[0], some.shape[1], some.shape[-1]
    groups, taps = weight.shape[:2]
    threads = thread_count(batch * length * channels * groups * taps // 8)
    samples = batch if task == "outer" else batch * groups
    if not runs:
        runs = min(length, max(1, -(-4 * threads // samples) if threads > 1 else 1))
    runs = min(runs, length)
    size = -(-length // runs)
    runs = -(-length // size)
    sums = torch.empty(runs if task == "inner" else 0, groups * (taps + 1) * weight.shape[-1], dtype=torch.float32)
    row = [0] * len(FIELDS)
    values = {"task": _TASKS[task], "batch": batch, "groups": groups, "length": length, "channels": channels}
    values |= {"taps": taps, "run": size, "runs": runs, "sums_step": 4 * sums.shape[1], **fields}
    values |= {"table": table.data_ptr(), "weight": weight.data_ptr(), "bias": bias.data_ptr()}
    values["sums"] = sums.data_ptr()
    for name, tensor in (("x", x), ("out", out), ("grad", gradient), ("pre", inner)):
        if tensor is not None:
            steps = [4 * step for step in tensor.stride()]
            values |= {name: tensor.data_ptr(), f"{name}_b": steps[0], f"{name}_t": steps[1]}
            if tensor.dim() == 4:
                values[f"{name}_g"] = steps[2]
    for name, value in values.items():
        row[_INDEX[name]] = value
    units = runs if task == "inner" else samples * runs
    with named("medssm::depthwise"):
        run_units(depthwise_kernel(), np.array(row, np.int64).view(RECORD), 0, units, threads)
    return sums
