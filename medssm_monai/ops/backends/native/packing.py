"""Small copies with other strides and zeros around them, many in one launch: how kernels get weights, give gradients.

Kernels read weights channels last, padded to whole vectors, and leave sums over tokens in the same form. A handful of
PyTorch's or NumPy's operators for each of them would take longer than the scan of a short sequence.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import torch
from numba import float32, njit
from torch import Tensor

from .blocks import transpose_block
from .call import next_unit, parameters_at, unit_is_done
from .compile import compiled
from .records import STATES, padded
from .thread_pool import run_units
from .vector import LANES, load, load_index, load_number, store, store_number

__all__ = ["JOB", "SOURCE", "Copies", "add_over_samples", "copy_kernel", "packed", "packed_rows", "run_jobs"]

JOB = 14
"""Integers that describe a copy."""
SOURCE = 3
"""Place of the source's address among them; that of the target is the first."""

kernel = njit(error_model="numpy", nogil=True)


@kernel
def _number(source, count, step):
    number = load_number(source)
    for i in range(1, count):
        number += load_number(source + i * step)
    return number


@kernel
def _rectangle(job, target, source):
    """Rows and columns of one group."""
    to_row, row_step, column_step = load_index(job + 16), load_index(job + 40), load_index(job + 48)
    rows, columns = load_index(job + 64), load_index(job + 72)
    all_rows, all_columns = load_index(job + 80), load_index(job + 88)
    count, step = load_index(job + 96), load_index(job + 104)
    turned = row_step == 4 and column_step != 4 and count == 1
    done = rows - rows % LANES if turned else 0  # of the rows, those that whole blocks are turned for
    for r in range(0, done, LANES):
        c = 0
        while c + LANES <= columns:
            at = target + r * to_row + 4 * c
            transpose_block(source + 4 * r + c * column_step, column_step, at, to_row)
            c += LANES
        for i in range(r, r + LANES):
            for rest in range(c, columns):
                store_number(target + i * to_row + 4 * rest, load_number(source + 4 * i + rest * column_step))
    for r in range(done, rows):
        at, start = target + r * to_row, source + r * row_step
        c = 0
        while column_step == 4 and c + LANES <= columns:
            total = load(start + 4 * c)
            for i in range(1, count):
                total = total + load(start + i * step + 4 * c)
            store(at + 4 * c, total)
            c += LANES
        while c < columns:
            store_number(at + 4 * c, _number(start + c * column_step, count, step))
            c += 1
    for r in range(all_rows):
        for c in range(columns if r < rows else 0, all_columns):
            store_number(target + r * to_row + 4 * c, float32(0.0))


def copy_units(call):
    """A unit is a copy, described as :meth:`Copies.add` writes it; steps in bytes."""
    p = parameters_at(call)
    unit = next_unit(call)
    while unit >= 0:
        job = p + 8 * JOB * unit
        for g in range(load_index(job + 56)):
            _rectangle(job, load_index(job) + g * load_index(job + 8), load_index(job + 24) + g * load_index(job + 32))
        unit_is_done(call)
        unit = next_unit(call)


copy_kernel = compiled(copy_units)


class Copies:
    """Copies of float32 numbers, to be done by one launch.

    Attributes:
        jobs: what the kernel reads, :data:`JOB` integers for each: the address of the target first, that of the source
            at :data:`SOURCE`.
    """

    def __init__(self) -> None:
        self.jobs = array("q")

    def add(
        self,
        target: int,
        target_steps: tuple[int, int],
        source: int,
        source_steps: tuple[int, int, int],
        shape: tuple[int, int, int],
        room: tuple[int, int] | None = None,
        sums: tuple[int, int] = (1, 0),
    ) -> None:
        """Note down ``target[g, r, c] = sum_i source[i, g, r, c]``; columns of the target lie side by side.

        Args:
            target, source: addresses in bytes.
            target_steps: numbers from group to group and from row to row.
            source_steps: the same, and from column to column.
            shape: groups, rows, columns.
            room: rows and columns that the target has; those beyond ``shape`` become 0.
            sums: how many numbers are added up for each, and how far they are from each other.
        """
        rows, columns = room or shape[1:]
        (to_group, to_row), (group, row, column), (count, step) = target_steps, source_steps, sums
        self.jobs.extend((target, 4 * to_group, 4 * to_row, source, 4 * group, 4 * row, 4 * column))
        self.jobs.extend((*shape, rows, columns, count, 4 * step))

    def add_packed(self, target: int, x: Tensor, room: tuple[int, int]) -> None:
        """``(G, E)`` or ``(G, E, N)`` to rows and columns ``room`` for each group, channels last."""
        steps = (*x.stride(), 0)
        shape = (x.shape[0], x.shape[2] if x.dim() == 3 else 1, x.shape[1])
        to = room[0] * room[1], room[1]
        self.add(target, to, x.data_ptr(), (steps[0], steps[2], steps[1]), shape, room)

    def run(self) -> None:
        """Do them."""
        run_jobs(self.jobs)


def run_jobs(jobs: array[int]) -> None:
    """Do copies that were noted down before, see :attr:`Copies.jobs`."""
    if jobs:
        run_units(copy_kernel(), jobs, 0, len(jobs) // JOB, 1)


def packed(weights: Mapping[str, Tensor | None], multiple: int = STATES) -> tuple[dict[str, int], tuple[Tensor, ...]]:
    """Weights as kernels read them: contiguous, channels last, zeros up to whole vectors and sweeps.

    Args:
        weights: ``(G, E)``, which become ``(G, E')``, or ``(G, E, N)``, which become ``(G, N', E')``.
        multiple: of which ``N'`` is one.

    Returns:
        address of each that there is, and the tensors that must live as long as the addresses are used.
    """
    found = {name: x for name, x in weights.items() if x is not None}
    ready = {name: x for name, x in found.items() if x.dim() == 2 and x.shape[1] % LANES == 0 and x.is_contiguous()}
    addresses = {name: x.data_ptr() for name, x in ready.items()}
    rest = {name: x for name, x in found.items() if name not in ready}
    if not rest:
        return addresses, tuple(ready.values())
    rooms = {name: (packed_rows(x, multiple), padded(x.shape[1], LANES)) for name, x in rest.items()}
    size = sum(x.shape[0] * rooms[name][0] * rooms[name][1] for name, x in rest.items())
    memory = torch.empty(size, dtype=torch.float32)
    at, copies = memory.data_ptr(), Copies()
    for name, x in rest.items():
        addresses[name] = at
        copies.add_packed(at, x, rooms[name])
        at += 4 * x.shape[0] * rooms[name][0] * rooms[name][1]
    copies.run()
    return addresses, (memory, *ready.values())


def packed_rows(x: Tensor, multiple: int = STATES) -> int:
    """Rows of a group of packed weights."""
    return padded(x.shape[2], multiple) if x.dim() == 3 else 1


def add_over_samples(results: Sequence[tuple[Tensor, Tensor]], width: int) -> None:
    """Sum over samples and parts, in fixed order: packed ``(..., G, E')`` or ``(..., G, N', E')`` into results.

    ``results``: sums, and a contiguous ``(G, E)`` or ``(G, E, N)`` for them; ``width``: ``E'``.
    """
    copies = Copies()
    for sums, result in results:
        groups, channels = result.shape[:2]
        if result.dim() == 2:
            size = groups * width
            shape, steps, inner = (1, groups, channels), (0, channels), (0, width, 1)
        else:
            states = result.shape[2]
            depth = padded(states, STATES)
            size = groups * depth * width
            shape, steps = (groups, channels, states), (channels * states, states)
            inner = (depth * width, 1, width)
        copies.add(result.data_ptr(), steps, sums.data_ptr(), inner, shape, sums=(sums.numel() // size, size))
    copies.run()
