"""Launches the programs of a chain on tensors, forward and backward."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from ..backends.native.eager import named
from ..backends.native.thread_pool import run_units, thread_count
from ..backends.native.vector import LANES, ROW
from . import kernel as op
from .kernel import token_kernel
from .kernel_sums import sums_kernel
from .program import Place, Program, Sums
from .recording import Recording
from .writer import backward_program, forward_program, multiply_adds

__all__ = ["Plan"]

CACHE = 384 << 10  # bytes of scratch memory that a core keeps near
SUMS = 8  # at most so many partial sums of a gradient
TOKENS_A_SUM = 512
MULTIPLY_ADDS = 4  # that take as long as the exponential by which threads are counted
SUM_FIELDS = 6  # of a row of the table of sums
MOST_LAUNCHES = 64  # kept; a network sees few sizes

_Ways = tuple[Sequence[int], list[int]] | None  # the order of the axes in memory, and back


def _vectors(recording: Recording, tokens: int, copies: int) -> int:
    """Registers of tokens in a tile: many, as long as its rows stay near and there are two tiles for two threads."""
    for vectors in (128 // LANES, 64 // LANES, 32 // LANES):
        if vectors > 2 and copies * recording.rows * vectors * ROW <= CACHE and tokens >= 2 * vectors * LANES:
            return vectors
    return 2


class _Launch(NamedTuple):
    """A program made ready for tensors of certain sizes and strides, all but the addresses."""

    code: array[int]
    places: tuple[Place, ...]
    scratch: int
    units: int
    threads: int
    sums_bytes: int  # of a unit
    gradients: array[int]  # what the kernel of the sums wants to know of each, see :mod:`.kernel_sums`


class Plan:
    """A recorded chain with its programs.

    Args:
        recording: the chain.
        parameters: the tensors that it reads, as they were when it was recorded.
        shapes: shape of each parameter's gradient: ``parameters`` may be views of what the modules hold.
        memory: for every output the order in which its axes lie in memory, slowest first, or None for as they are.
    """

    def __init__(
        self,
        recording: Recording,
        parameters: list[Tensor],
        shapes: Sequence[torch.Size],
        memory: Sequence[Sequence[int] | None],
    ) -> None:
        self.recording, self._parameters = recording, parameters
        *self._starts, self._numbers = accumulate((x.numel() for x in parameters), initial=0)
        strides = [torch.empty(shape, device="meta").stride() for shape in shapes]
        self._gradients = list(zip(shapes, strides, self._starts, strict=True))
        self._outputs = [_axes(index.shape, order) for index, order in zip(recording.outputs, memory, strict=True)]
        self._programs: dict[tuple[bool, int], Program] = {}
        self._launches: dict[tuple[object, ...], _Launch] = {}
        self._work = multiply_adds(recording)

    def _program(self, backward: bool, vectors: int) -> Program:
        key = backward, vectors
        if key not in self._programs:
            make = backward_program if backward else forward_program
            self._programs[key] = make(self.recording, self._parameters, vectors)
        return self._programs[key]

    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
        """Outputs for inputs ``(B, H, W, *channels)``."""
        lead = inputs[0].shape[:3]
        outputs = [_empty((*lead, *channels), ways) for channels, ways in self._outputs]
        self._run(self._ready(False, lead, [*inputs, *outputs]), parameters, [*inputs, *outputs])
        return outputs

    def backward(
        self, inputs: Sequence[Tensor], gradients: Sequence[Tensor], parameters: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Gradients of the inputs and of the parameters from those of the outputs."""
        results = [torch.empty_like(x) for x in inputs]
        tensors = [*inputs, *gradients, *results]
        launch = self._ready(True, inputs[0].shape[:3], tensors)
        sums = torch.empty(launch.units * launch.sums_bytes // 4, dtype=torch.float32)
        self._run(launch, parameters, tensors, sums)
        flat = torch.zeros(self._numbers, dtype=torch.float32)
        table = launch.gradients
        size = launch.sums_bytes // 4
        numbers = (sums.data_ptr(), launch.units, size, table.buffer_info()[0], len(table) // SUM_FIELDS)
        run_units(sums_kernel(), array("q", (*numbers, flat.data_ptr(), flat.numel())), 0, 1, 1)
        return results, [flat.as_strided(shape, strides, start) for shape, strides, start in self._gradients]

    def _ready(self, backward: bool, lead: Sequence[int], tensors: Sequence[Tensor]) -> _Launch:
        key = (backward, torch.get_num_threads(), lead, *[x.stride() for x in tensors])
        launch = self._launches.get(key)
        if launch is None:
            launch = self._made_ready(backward, tuple(lead), [x.stride() for x in tensors])
            if len(self._launches) >= MOST_LAUNCHES:
                self._launches.clear()
            self._launches[key] = launch
        return launch

    def _run(
        self, launch: _Launch, parameters: Sequence[Tensor], tensors: Sequence[Tensor], sums: Tensor | None = None
    ) -> None:
        """One launch; ``sums``: memory for partial sums of the parameters' gradients."""
        code = launch.code[:]
        addresses = [x.data_ptr() for x in parameters]
        addresses += [x.data_ptr() for x in tensors]
        for at, number, shift in launch.places:
            code[at] = addresses[number] + shift
        if sums is not None:
            code[op.SUMS] = sums.data_ptr()
        with named("medssm::tokenwise"):
            run_units(token_kernel(), code, launch.scratch, launch.units, launch.threads)

    def _made_ready(self, backward: bool, lead: tuple[int, ...], strides: list[tuple[int, ...]]) -> _Launch:
        tokens = math.prod(lead)
        program = self._program(backward, _vectors(self.recording, tokens, 2 if backward else 1))
        threads = thread_count((3 if backward else 1) * tokens * self._work // MULTIPLY_ADDS)
        tiles = -(-tokens // int(program.code[op.VECTORS] * LANES))
        if backward:
            units = min(tiles, max(2, min(SUMS, tokens // TOKENS_A_SUM)))
        else:
            units = min(tiles, 4 * threads if threads > 1 else 1)
        run = -(-tiles // units)
        layout = program.layout(lead, strides)
        layout.code[op.TILES], layout.code[op.SUMS_STEP] = run, program.sums_bytes
        gradients = array("q", [number for place in program.sums for number in self._sum(place)])
        return _Launch(*layout, program.scratch, -(-tiles // run), threads, program.sums_bytes, gradients)

    def _sum(self, place: Sums) -> tuple[int, ...]:
        """A row of the table of :mod:`.kernel_sums`."""
        start, width = self._starts[place.parameter], self._parameters[place.parameter].shape[-1]
        return place.shift // 4, place.outputs, place.inputs, start + place.column, width, place.wide


def _axes(channels: tuple[int, ...], order: Sequence[int] | None) -> tuple[tuple[int, ...], _Ways]:
    """Of an output: the channels' axes, the order of all axes in memory, and the way back."""
    return channels, None if order is None else (order, [order.index(axis) for axis in range(3 + len(channels))])


def _empty(shape: tuple[int, ...], ways: _Ways) -> Tensor:
    if ways is None:
        return torch.empty(shape, dtype=torch.float32)
    order, back = ways
    return torch.empty([shape[axis] for axis in order], dtype=torch.float32).permute(back)
