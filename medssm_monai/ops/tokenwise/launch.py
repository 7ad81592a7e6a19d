"""Launches the programs of a chain on tensors, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..backends.native.eager import named
from ..backends.native.thread_pool import run_units, thread_count
from ..backends.native.vector import LANES, ROW
from . import kernel as op
from .kernel import token_kernel
from .kernel_sums import sums_kernel
from .program import Program
from .recording import Recording
from .writer import backward_program, forward_program, multiply_adds

__all__ = ["Plan"]

CACHE = 384 << 10  # bytes of scratch memory that a core keeps near
SUMS = 8  # at most so many partial sums of a gradient
TOKENS_A_SUM = 512
MULTIPLY_ADDS = 4  # that take as long as the exponential by which threads are counted


def _vectors(recording: Recording, tokens: int, copies: int) -> int:
    """Registers of tokens in a tile: many, as long as its rows stay near and there are two tiles for two threads."""
    for vectors in (128 // LANES, 64 // LANES, 32 // LANES):
        if vectors > 2 and copies * recording.rows * vectors * ROW <= CACHE and tokens >= 2 * vectors * LANES:
            return vectors
    return 2


class Plan:
    """A recorded chain with its programs.

    Args:
        recording: the chain.
        memory: for every output the order in which its axes lie in memory, slowest first, or None for as they are.
    """

    def __init__(self, recording: Recording, parameters: list[Tensor], memory: Sequence[Sequence[int] | None]) -> None:
        self.recording, self.memory = recording, tuple(memory)
        self._shapes = [tuple(x.shape) for x in parameters]
        self._parameters = parameters
        self._programs: dict[tuple[bool, int], Program] = {}
        self._work = multiply_adds(recording)

    def _program(self, backward: bool, vectors: int) -> Program:
        key = backward, vectors
        if key not in self._programs:
            make = backward_program if backward else forward_program
            self._programs[key] = make(self.recording, self._parameters, vectors)
        return self._programs[key]

    def _empty(self, lead: Sequence[int], number: int) -> Tensor:
        shape = (*lead, *self.recording.outputs[number].shape)
        order = self.memory[number]
        if order is None:
            return torch.empty(shape, dtype=torch.float32)
        back = [order.index(axis) for axis in range(len(shape))]
        return torch.empty([shape[axis] for axis in order], dtype=torch.float32).permute(back)

    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
        """Outputs for inputs ``(B, H, W, *channels)``."""
        lead = inputs[0].shape[:3]
        tokens = math.prod(lead)
        outputs = [self._empty(lead, i) for i in range(len(self.recording.outputs))]
        program = self._program(False, _vectors(self.recording, tokens, 1))
        threads = thread_count(tokens * self._work // MULTIPLY_ADDS)
        tiles = -(-tokens // int(program.code[op.VECTORS] * LANES))
        units = min(tiles, 4 * threads if threads > 1 else 1)
        self._run(program, [*inputs, *outputs], parameters, lead, tiles, units, threads)
        return outputs

    def backward(
        self, inputs: Sequence[Tensor], gradients: Sequence[Tensor], parameters: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Gradients of the inputs and of the parameters from those of the outputs."""
        lead = inputs[0].shape[:3]
        tokens = math.prod(lead)
        results = [torch.empty_like(x) for x in inputs]
        program = self._program(True, _vectors(self.recording, tokens, 2))
        threads = thread_count(3 * tokens * self._work // MULTIPLY_ADDS)
        tiles = -(-tokens // int(program.code[op.VECTORS] * LANES))
        units = min(tiles, max(2, min(SUMS, tokens // TOKENS_A_SUM)))
        sums = self._run(program, [*inputs, *gradients, *results], parameters, lead, tiles, units, threads)
        return results, self._add_up(program, sums)

    def _run(
        self,
        program: Program,
        tensors: Sequence[Tensor],
        parameters: Sequence[Tensor],
        lead: Sequence[int],
        tiles: int,
        units: int,
        threads: int,
    ) -> np.ndarray:
        run = -(-tiles // units)
        units = -(-tiles // run)
        sums = np.empty((units, program.sums_bytes // 4), np.float32)
        layout = program.layout(tuple(lead), [x.stride() for x in tensors])
        code = layout.code.copy()
        code[op.TILES], code[op.SUMS], code[op.SUMS_STEP] = run, sums.__array_interface__["data"][0], program.sums_bytes
        starts = np.array([x.data_ptr() for x in (*parameters, *tensors)], np.int64)
        code[layout.places] = starts[layout.tensors] + layout.shifts
        with named("medssm::tokenwise"):
            run_units(token_kernel(), code, program.scratch, units, threads)
        return sums

    def _add_up(self, program: Program, sums: np.ndarray) -> list[Tensor]:
        sizes = [math.prod(shape) for shape in self._shapes]
        flat = torch.zeros(sum(sizes), dtype=torch.float32)
        starts = np.cumsum([0, *sizes])
        table = [
            (place.shift // 4, place.outputs, place.inputs, starts[place.parameter] + place.column)
            + (self._shapes[place.parameter][-1], place.wide)
            for place in program.sums
        ]
        rows = np.array(table, np.int64)
        arrays = (sums.ctypes.data, *sums.shape, rows.ctypes.data, len(rows), flat.data_ptr(), flat.numel())
        run_units(sums_kernel(), np.array(arrays, np.int64), 0, 1, 1)
        return list(flat.split(sizes))
