"""From a recorded chain to the instructions of the kernel, forward and backward.

The backward pass computes the chain of a tile again and runs through it from the end: nothing but the inputs of a
chain is kept for it. Rows of gradients mirror the rows of values. The first gradient that comes to a row is written,
others are added to it; a row to which none came is cleared when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from ..backends.native.vector import LANES, ROW
from . import kernel as op
from .program import Part, Place, Program, Sums
from .recording import Recording, Span, Step, spans

__all__ = ["backward_program", "forward_program", "multiply_adds"]


WIDE = 32
"""Outputs from which on turning the inputs costs less than summing over lanes."""


def multiply_adds(recording: Recording) -> int:
    """Of the products, for one token."""
    return sum(step.weight.numel() for step in recording.steps if step.kind == "linear" and step.weight is not None)


class _Writer:
    """Writes instructions.

    Args:
        vectors: registers of tokens in a tile, an even number.
        slopes: the program goes back: it has rows of gradients and keeps what they need of the values.
    """

    def __init__(self, recording: Recording, parameters: list[Tensor], vectors: int, slopes: bool) -> None:
        self.recording, self.row, self.slopes = recording, vectors * ROW, slopes
        self.number = {id(x): i for i, x in enumerate(parameters)}
        self.code: list[list[int]] = []
        self.places: list[Place] = []
        self.parts: list[Part] = []
        self.sums: list[Sums] = []
        self.sums_bytes = self.wide_bytes = 0
        self.wide: list[int] = []  # instructions that write sums, which come after those that are added to
        self.mirror = recording.rows * self.row
        self.rows = recording.rows * (2 if slopes else 1)
        self.kept: dict[int, int] = {}  # statistics and slopes, by the first row of a layer's result
        self.written: set[int] = set()  # rows to which a gradient came
        parts = [(step.weight, part) for step in recording.steps if step.kind == "linear" for part in step.sources]
        widths = [part.width for weight, part in parts if slopes and _is_wide(weight, part)]
        self.room = self.more(max(widths, default=0))

    def emit(self, what: int, *fields: int) -> int:
        """Add an instruction; returns where it begins."""
        self.code.append([what, *fields, *[0] * (op.WIDTH - 1 - len(fields))])
        return op.HEADER + (len(self.code) - 1) * op.WIDTH

    def more(self, rows: int) -> int:
        """Further rows: their address."""
        self.rows += rows
        return (self.rows - rows) * self.row

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

    def add_sums(self, x: Tensor | None, outputs: int, inputs: int = 0, column: int = 0, wide: bool = False) -> int:
        """Room for a gradient; -1 where there is no parameter."""
        if x is None:
            return -1
        shift = self.wide_bytes if wide else self.sums_bytes
        self.sums.append(Sums(self.number[id(x)], shift, outputs, inputs, column, int(wide)))
        if wide:
            self.wide_bytes += 4 * outputs * inputs
        else:
            self.sums_bytes += (-(-inputs // 4) * -(-outputs // 2) if inputs else outputs) * ROW
        return shift

    def weight_gradient(self, weight: Tensor, target: int, part: Span, column: int) -> None:
        outputs = weight.shape[0]
        wide = _is_wide(weight, part)
        to = self.add_sums(weight, outputs, part.width, column, wide)
        fields = (target, self.value(part), to, self.row, outputs, part.step * self.row, part.width)
        if wide:
            self.wide.append(self.emit(op.WIDE_WEIGHT, *fields, self.room))
        else:
            self.emit(op.LINEAR_WEIGHT, *fields)

    def asked(self, rows: set[int]) -> None:
        """Rows of gradients are about to be read: those to which none came become 0."""
        missing = np.array(sorted(rows - self.written), np.int64)
        for run in np.split(missing, np.flatnonzero(np.diff(missing) != 1) + 1):
            if len(run):
                self.emit(op.CLEAR, self.mirror + int(run[0]) * self.row, 0, 0, len(run) * self.row)
        self.written |= rows

    def adds(self, span: Span) -> bool:
        """A gradient comes to these rows: whether it is added to others, or the first."""
        rows = set(_rows(span))
        if self.written.isdisjoint(rows):
            self.written |= rows
            return False
        self.asked(rows)
        return True

    def statistics(self, step: Step) -> int:
        """Rows of a norm's statistics, which are computed when first asked for."""
        if step.target.start not in self.kept:
            source, to = step.sources[0], self.more(2)
            fields = (to, self.value(source), 0, source.step * self.row, source.width, _bits(step.epsilon))
            self.emit(op.STATISTICS, *fields)
            self.kept[step.target.start] = to
        return self.kept[step.target.start]

    def forward(self, step: Step) -> None:
        target, source, row = self.value(step.target), step.sources[0], self.row
        size = source.width * row
        if step.kind == "norm":
            rows = (step.target.step * row, source.step * row, source.width)
            at = self.emit(op.NORM, target, self.value(source), self.statistics(step), *rows) + 7
            self.parameter(at, step.weight)
            self.parameter(at + 1, step.bias)
        elif step.kind == "linear":
            assert step.weight is not None
            inputs = step.weight.shape[1]
            for column, part in _columns(step.sources):
                sizes = (row, step.target.width, part.step * row, part.width)
                at = self.emit(op.LINEAR, target, self.value(part), int(column > 0), *sizes, 0, 4 * inputs, 4, 0)
                self.parameter(at + 8, step.weight, 4 * column)
                if column == 0:
                    self.parameter(at + 11, step.bias)
        elif step.kind == "silu" and self.slopes:
            to = self.kept[step.target.start] = self.more(source.width)
            self.emit(op.SILU_AND_SLOPE, target, self.value(source), to, size)
        elif step.kind == "silu":
            self.emit(op.SILU, target, self.value(source), 0, size)
        else:
            what = op.ADD if step.kind == "add" else op.MULTIPLY
            self.emit(what, target, self.value(source), self.value(step.sources[1]), size)

    def backward(self, step: Step) -> None:
        self.asked(set(_rows(step.target)))
        target, source, row = self.gradient(step.target), step.sources[0], self.row
        if step.kind == "norm":
            statistics = self.statistics(step)
            rows = (source.step * row, step.target.step * row, source.width)
            sums = self.add_sums(step.weight, source.width), self.add_sums(step.bias, source.width)
            fields = (self.value(source), target, statistics, *rows, 0, int(self.adds(source)), *sums)
            at = self.emit(op.NORM_GRADIENT, self.gradient(source), *fields)
            self.parameter(at + 8, step.weight)
        elif step.kind == "linear":
            assert step.weight is not None
            outputs, inputs = step.weight.shape
            for column, part in _columns(step.sources):
                self.weight_gradient(step.weight, target, part, column)
                adds, sizes = int(self.adds(part)), (part.step * row, part.width, row, outputs)
                at = self.emit(op.LINEAR, self.gradient(part), target, adds, *sizes, 0, 4, 4 * inputs, 0)
                self.parameter(at + 8, step.weight, 4 * column)
            if step.bias is not None:
                self.emit(op.LINEAR_BIAS, target, 0, self.add_sums(step.bias, outputs), row, outputs)
        elif step.kind == "silu":
            self.multiplied(source, target, self.kept[step.target.start])
        elif step.kind == "add":
            for part in step.sources:
                to, size = self.gradient(part), part.width * row
                if self.adds(part):
                    self.emit(op.ADD, to, to, target, size)
                else:
                    self.emit(op.COPY, to, target, 0, size)
        else:
            for part, other in (step.sources, step.sources[::-1]):
                self.multiplied(part, target, self.value(other))

    def multiplied(self, part: Span, target: int, factor: int) -> None:
        """The gradient of a result times a factor is that of ``part``."""
        what = op.MULTIPLY_ADD if self.adds(part) else op.MULTIPLY
        self.emit(what, self.gradient(part), factor, target, part.width * self.row)

    def program(self) -> Program:
        code = np.array([0] * op.HEADER + [number for line in self.code for number in line], np.int64)
        code[op.INSTRUCTIONS] = len(self.code)
        code[op.VECTORS] = self.row // ROW
        code[op.TABLE] = self.rows * self.row
        code[op.CLEARED] = self.sums_bytes
        code[[at + 3 for at in self.wide]] += self.sums_bytes
        sums = tuple(s._replace(shift=s.shift + s.wide * self.sums_bytes) for s in self.sums)
        scratch = self.rows * self.row + 8 * (self.row // ROW) * LANES
        parts = (tuple(self.places), tuple(self.parts), sums)
        return Program(code, *parts, self.sums_bytes + self.wide_bytes, scratch, len(self.number))


def _is_wide(weight: Tensor | None, part: Span) -> bool:
    return weight is not None and weight.shape[0] >= WIDE and part.width % (2 * LANES) == 0


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
    writer = _Writer(recording, parameters, vectors, slopes=False)
    for i, index in enumerate(recording.inputs):
        writer.move(op.LOAD, i, index, 0)
    for step in recording.steps:
        writer.forward(step)
    for i, index in enumerate(recording.outputs):
        writer.move(op.STORE, len(recording.inputs) + i, index, 0)
    return writer.program()


def backward_program(recording: Recording, parameters: list[Tensor], vectors: int) -> Program:
    """Inputs and gradients of the outputs → gradients of the inputs, which follow in ``parts``, and of the weights."""
    writer = _Writer(recording, parameters, vectors, slopes=True)
    inputs, outputs = len(recording.inputs), len(recording.outputs)
    for i, index in enumerate(recording.inputs):
        writer.move(op.LOAD, i, index, 0)
    for step in _needed(recording):
        writer.forward(step)
    for i, index in enumerate(recording.outputs):
        writer.move(op.LOAD, inputs + i, index, writer.mirror)
        writer.written.update(index.reshape(-1).tolist())
    for step in reversed(recording.steps):
        writer.backward(step)
    for i, index in enumerate(recording.inputs):
        writer.asked(set(index.reshape(-1).tolist()))
        writer.move(op.STORE, inputs + outputs + i, index, writer.mirror)
    return writer.program()


def _needed(recording: Recording) -> list[Step]:
    """The layers whose results some gradient asks for, in order."""
    wanted: set[int] = set()
    steps = []
    for step in reversed(recording.steps):
        asked = not wanted.isdisjoint(_rows(step.target)) or step.kind == "silu"  # for its slope
        if asked:
            steps.append(step)
        if asked or step.kind != "add":  # the gradient of a sum asks for no values
            wanted.update(row for part in step.sources for row in _rows(part))
    return steps[::-1]


def _rows(span: Span) -> range:
    return range(span.start, span.start + span.step * span.width, span.step)
