"""Scans of one signature, made ready once: what a call costs beside its kernel.

Checks, views, the division of the work and the argument record follow from shapes and strides. For inference they are
kept, so that a second call of the same signature takes memory, writes addresses into copies, and runs.
"""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...arguments import ScanArguments, validated
from .eager import named
from .forward import forward_kernel
from .launch import forward_division, forward_scratch, scan_sizes
from .packing import SOURCE, Copies, packed_rows, run_jobs
from .records import INDEX, STATES, make_params, padded
from .thread_pool import run_units
from .vector import LANES

__all__ = ["MOST", "Prepared", "scan_prepared"]

MOST = 64
"""Signatures that are kept; a network has few."""

Given = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]
Place = tuple[int, int, int]  # where an address belongs, of which tensor, and how many bytes on
_GIVEN = ScanArguments._fields[:8]
_OUT, _MEMORY = len(_GIVEN), len(_GIVEN) + 1  # numbers of what a call makes itself
_FIELDS = {"D": "D", "A": "A", "delta_bias": "bias"}  # weights, and what the record calls them


class Prepared(NamedTuple):
    """A forward scan without gradients, all but the addresses."""

    params: array[int]
    places: tuple[Place, ...]
    jobs: array[int]
    job_places: tuple[Place, ...]
    numbers: int  # of the memory for packed weights and the state
    scratch: int
    units: int
    threads: int

    def run(self, tensors: Given) -> Tensor:
        """The output, of the shape of the first tensor."""
        out, memory = torch.empty_like(tensors[0]), torch.empty(self.numbers, dtype=torch.float32)
        addresses = [0 if x is None else x.data_ptr() for x in (*tensors, out, memory)]
        params, jobs = self.params[:], self.jobs[:]
        for at, number, shift in self.places:
            params[at] = addresses[number] + shift
        for at, number, shift in self.job_places:
            jobs[at] = addresses[number] + shift
        with named("medssm::native_scan"):
            run_jobs(jobs)
            run_units(forward_kernel(), params, self.scratch, self.units, self.threads)
        return out


_ready: dict[tuple[Any, ...], Prepared | None] = {}


def scan_prepared(tensors: Given, softplus: bool, discretization: str) -> Tensor | None:
    """The output of a scan without gradients; None where it has to go the long way.

    Args:
        tensors: float32 on the CPU, as :func:`~medssm_monai.ops.selective_scan` is given them: ``u, delta, A, B, C, D,
            z, delta_bias``.
        softplus, discretization: as there.

    Raises:
        ValueError: as there.
    """
    known = [None if x is None else (x.shape, x.stride()) for x in tensors]
    key = (*known, softplus, discretization, torch.get_num_threads())
    if key in _ready:
        ready = _ready.get(key)  # None also if another thread has just cleared them
    else:
        args = validated(*tensors, delta_softplus=softplus, discretization=discretization)
        ready = _prepare(args, tensors[0])
        if len(_ready) >= MOST:
            _ready.clear()
        _ready[key] = ready
    return None if ready is None else ready.run(tensors)


def _prepare(args: ScanArguments, u: Tensor) -> Prepared | None:
    """For B and C that vary, in the order of positions; None where the state is shared out among threads.

    ``u``: the first argument as it was given.
    """
    batch, groups, channels, _ = args.u.shape
    threads, units, division = forward_division(args)
    if division["parts"] > 1 or args.B.dim() == 3 or args.C.dim() == 3:
        return None
    width = padded(channels, LANES)
    out = torch.empty_like(u) if u.dim() == 4 else torch.empty_like(u).unflatten(1, (groups, channels))
    tensors = {"u": args.u, "delta": args.delta, "B": args.B, "C": args.C, "z": args.z, "out": out}
    params = make_params(scan_sizes(args) | division, tensors)
    places = [(INDEX[name], _GIVEN.index(name), 0) for name in ("u", "delta", "B", "C")]
    places += [(INDEX["out"], _OUT, 0), (INDEX["last"], _MEMORY, 0)]
    if args.z is not None:
        places.append((INDEX["z"], _GIVEN.index("z"), 0))
    numbers = batch * groups * padded(args.A.shape[-1], STATES) * width
    copies, job_places = Copies(), []
    for name, field in _FIELDS.items():
        x = getattr(args, name)
        if x is None:
            continue
        at, rows = len(copies.jobs), packed_rows(x)
        copies.add_packed(0, x, (rows, width))
        job_places += [(at, _MEMORY, 4 * numbers), (at + SOURCE, _GIVEN.index(name), 0)]
        places.append((INDEX[field], _MEMORY, 4 * numbers))
        numbers += groups * rows * width
    scratch = forward_scratch(args, 1)
    return Prepared(params, tuple(places), copies.jobs, tuple(job_places), numbers, scratch, units, threads)
