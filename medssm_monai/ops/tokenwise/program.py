"""From a recorded chain to the instructions of the kernel, forward and backward.

The backward pass computes the chain of a tile again and runs through it from the end: nothing but the inputs of a
chain is kept for it. Rows of gradients mirror the rows of values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..backends.native.vector import LANES, ROW
from . import kernel as op
from .recording import Recording, Span, Step, spans

__all__ = ["Layout", "Part", "Place", "Program", "Sums", "backward_program", "forward_program", "multiply_adds"]

MOST_LAYOUTS = 64


class Place(NamedTuple):
    """An integer of a program that is known at launch only: the address of parameter ``number``, ``shift`` bytes on."""

    at: int
    number: int
    shift: int = 0


class Part(NamedTuple):
    """An instruction that moves channels of a tensor: where its address stands, and which of the channels' axes."""

    at: int
    tensor: int
    leading: tuple[int, ...]


class Sums(NamedTuple):
    """Partial sums of one parameter's gradient.

    ``shift`` bytes from the beginning of the sums; ``(outputs, ceil(inputs / 4), LANES)`` for a weight, whose columns
    from ``column`` on they are, ``(outputs, LANES)`` with ``inputs = 0`` for a vector.
    """

    parameter: int
    shift: int
    outputs: int
    inputs: int
    column: int


class Layout(NamedTuple):
    """A program for tensors of certain strides: all but the addresses.

    Place ``places[i]`` gets the address of tensor ``tensors[i]``, parameters first, plus ``shifts[i]``.
    """

    code: np.ndarray
    places: np.ndarray
    tensors: np.ndarray
    shifts: np.ndarray


class Program:
    """Instructions, and what a launch fills in.

    Attributes:
        code: the instructions, addresses and strides left open.
        sums, sums_bytes: partial sums of the parameters' gradients that the program adds to.
        scratch: bytes of memory that a tile takes.
    """

    def __init__(
        self,
        code: np.ndarray,
        places: tuple[Place, ...],
        parts: tuple[Part, ...],
        sums: tuple[Sums, ...],
        sums_bytes: int,
        scratch: int,
        parameters: int,
    ) -> None:
        self.code, self.sums, self.sums_bytes, self.scratch = code, sums, sums_bytes, scratch
        self._places, self._parts, self._parameters = places, parts, parameters
        self._layouts: dict[tuple[object, ...], Layout] = {}

    def layout(self, lead: tuple[int, ...], strides: list[tuple[int, ...]]) -> Layout:
        """For tensors ``(B, H, W, *channels)``, ``lead`` of them the first three sizes."""
        key = (lead, *strides)
        if key not in self._layouts:
            if len(self._layouts) >= MOST_LAYOUTS:
                self._layouts.clear()
            self._layouts[key] = self._make_layout(lead, strides)
        return self._layouts.get(key) or self._make_layout(lead, strides)  # another thread may have cleared them

    def _make_layout(self, lead: tuple[int, ...], strides: list[tuple[int, ...]]) -> Layout:
        code = self.code.copy()
        code[[op.TOKENS, op.HEIGHT, op.ACROSS]] = (math.prod(lead), lead[1], lead[2])
        places = [(place.at, place.number, place.shift) for place in self._places]
        for at, number, leading in self._parts:
            steps = strides[number]
            shift = sum(i * step for i, step in zip(leading, steps[3:], strict=False))
            places.append((at, self._parameters + number, 4 * shift))
            code[at + 1 : at + 5] = [4 * step for step in (*steps[:3], steps[-1])]
        return Layout(code, *np.array(places, np.int64).T)


def multiply_adds(recording: Recording) -> int:
    """Of the products, for one token."""
    return sum(step.weight.numel() for step in recording.steps if step.kind == "linear" and step.weight is not None)


class _Writer:
    """Writes instructions; ``row``: size of a row in bytes, ``copies``: 1 for values alone, 2 with their gradients."""

    def __init__(self, recording: Recording, parameters: list[Tensor], vectors: int, copies: int) -> None:
        self.recording, self.row, self.copies = recording, vectors * ROW, copies
        self.number = {id(x): i for i, x in enumerate(parameters)}
        self.code: list[list[int]] = []
        self.places: list[Place] = []
        self.parts: list[Part] = []
        self.sums: list[Sums] = []
        self.sums_bytes = 0
        self.mirror = recording.rows * self.row

    def emit(self, what: int, *fields: int) -> int:
        """Add an instruction; returns where it begins."""
        self.code.append([what, *fields, *[0] * (op.WIDTH - 1 - len(fields))])
        return op.HEADER + (len(self.code) - 1) * op.WIDTH

    def value(self, span: Span) -> int:
        return span.start * self.row

    def gradient(self, span: Span) -> int:
        return self.mirror + span.start * self.row

    def parameter(self, at: int, x: Tensor | None, shift: int = 0) -> None:
        if x is not None:
            self.places.append(Place(at, self.number[id(x)], shift))

    def move(self, what: int, tensor: int, index: np.ndarray, base: int) -> None:
        """Between a tensor's channels and rows: one instruction for each place on the axes before the last."""
        for leading in np.ndindex(*index.shape[:-1]):
            run = spans(index[leading])
            assert len(run) == 1, "channels of one axis lie at equal distances"
            ((span,),) = run
            at = self.emit(what, base + span.start * self.row, span.step * self.row, span.width)
            self.parts.append(Part(at + 4, tensor, leading))

    def add_sums(self, x: Tensor | None, outputs: int, inputs: int = 0, column: int = 0) -> int:
        """Room for a gradient; -1 where there is no parameter."""
        if x is None:
            return -1
        shift = self.sums_bytes
        self.sums.append(Sums(self.number[id(x)], shift, outputs, inputs, column))
        self.sums_bytes += outputs * (-(-inputs // 4) if inputs else 1) * ROW
        return shift

    def forward(self, step: Step) -> None:
        target, source, row = self.value(step.target), step.sources[0], self.row
        if step.kind == "norm":
            rows = (step.target.step * row, source.step * row, source.width)
            at = self.emit(op.NORM, target, self.value(source), 0, *rows, 0, 0, _bits(step.epsilon))
            self.parameter(at + 7, step.weight)
            self.parameter(at + 8, step.bias)
        elif step.kind == "linear":
            assert step.weight is not None
            inputs = step.weight.shape[1]
            for column, part in _columns(step.sources):
                sizes = (row, step.target.width, part.step * row, part.width)
                at = self.emit(op.LINEAR, target, self.value(part), int(column > 0), *sizes, 0, 4 * inputs, 4, 0)
                self.parameter(at + 8, step.weight, 4 * column)
                if column == 0:
                    self.parameter(at + 11, step.bias)
        elif step.kind == "silu":
            self.emit(op.SILU, target, self.value(source), 0, source.width * row)
        else:
            what = op.ADD if step.kind == "add" else op.MULTIPLY
            self.emit(what, target, self.value(source), self.value(step.sources[1]), source.width * row)

    def backward(self, step: Step) -> None:
        target, source, row = self.gradient(step.target), step.sources[0], self.row
        size = source.width * row
        if step.kind == "norm":
            rows = (source.step * row, step.target.step * row, source.width)
            sums = self.add_sums(step.weight, source.width), self.add_sums(step.bias, source.width)
            fields = (self.gradient(source), self.value(source), target, 0, *rows, 0, _bits(step.epsilon), *sums)
            at = self.emit(op.NORM_GRADIENT, *fields)
            self.parameter(at + 8, step.weight)
        elif step.kind == "linear":
            assert step.weight is not None
            outputs, inputs = step.weight.shape
            for column, part in _columns(step.sources):
                to = self.add_sums(step.weight, outputs, part.width, column)
                self.emit(op.LINEAR_WEIGHT, target, self.value(part), to, row, outputs, part.step * row, part.width)
                sizes = (part.step * row, part.width, row, outputs)
                at = self.emit(op.LINEAR, self.gradient(part), target, 1, *sizes, 0, 4, 4 * inputs, 0)
                self.parameter(at + 8, step.weight, 4 * column)
            if step.bias is not None:
                self.emit(op.LINEAR_BIAS, target, 0, self.add_sums(step.bias, outputs), row, outputs)
        elif step.kind == "silu":
            self.emit(op.SILU_GRADIENT, self.gradient(source), self.value(source), target, size)
        elif step.kind == "add":
            for part in step.sources:
                self.emit(op.ADD, self.gradient(part), self.gradient(part), target, size)
        else:
            for part, other in (step.sources, step.sources[::-1]):
                self.emit(op.MULTIPLY_ADD, self.gradient(part), self.value(other), target, size)

    def program(self) -> Program:
        rows = self.recording.rows * self.copies
        code = np.array([0] * op.HEADER + [number for line in self.code for number in line], np.int64)
        code[op.INSTRUCTIONS] = len(self.code)
        code[op.VECTORS] = self.row // ROW
        code[op.TABLE] = rows * self.row
        scratch = rows * self.row + 8 * (self.row // ROW) * LANES
        parts = (tuple(self.places), tuple(self.parts), tuple(self.sums))
        return Program(code, *parts, self.sums_bytes, scratch, len(self.number))


def _bits(number: float) -> int:
    """The bits of a float32."""
    return int(np.float32(number).view(np.int32))


def _columns(parts: tuple[Span, ...]) -> Iterator[tuple[int, Span]]:
    column = 0
    for part in parts:
        yield column, part
        column += part.width


def forward_program(recording: Recording, parameters: list[Tensor], vectors: int) -> Program:
    """Inputs → layers → outputs; ``vectors`` registers of tokens in a tile, an even number."""
    writer = _Writer(recording, parameters, vectors, copies=1)
    for i, index in enumerate(recording.inputs):
        writer.move(op.LOAD, i, index, 0)
    for step in recording.steps:
        writer.forward(step)
    for i, index in enumerate(recording.outputs):
        writer.move(op.STORE, len(recording.inputs) + i, index, 0)
    return writer.program()


def backward_program(recording: Recording, parameters: list[Tensor], vectors: int) -> Program:
    """Inputs and gradients of the outputs → gradients of the inputs, which follow in ``parts``, and of the weights."""
    writer = _Writer(recording, parameters, vectors, copies=2)
    inputs, outputs = len(recording.inputs), len(recording.outputs)
    for i, index in enumerate(recording.inputs):
        writer.move(op.LOAD, i, index, 0)
    for step in _needed(recording):
        writer.forward(step)
    writer.emit(op.CLEAR, writer.mirror, 0, 0, writer.mirror)
    for i, index in enumerate(recording.outputs):
        writer.move(op.LOAD, inputs + i, index, writer.mirror)
    for step in reversed(recording.steps):
        writer.backward(step)
    for i, index in enumerate(recording.inputs):
        writer.move(op.STORE, inputs + outputs + i, index, writer.mirror)
    return writer.program()


def _needed(recording: Recording) -> list[Step]:
    """The layers whose results some gradient asks for, in order."""
    wanted: set[int] = set()
    steps = []
    for step in reversed(recording.steps):
        asked = not wanted.isdisjoint(_rows(step.target))
        if asked:
            steps.append(step)
        if asked or step.kind != "add":  # the gradient of a sum asks for no values
            wanted.update(row for part in step.sources for row in _rows(part))
    return steps[::-1]


def _rows(span: Span) -> range:
    return range(span.start, span.start + span.step * span.width, span.step)
