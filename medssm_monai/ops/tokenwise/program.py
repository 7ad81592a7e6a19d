"""A program of the kernel: its instructions, and what is known at launch only."""

from __future__ import annotations

import math
from array import array
from typing import NamedTuple

import numpy as np

from . import kernel as op

__all__ = ["Layout", "Part", "Place", "Program", "Sums"]


class Place(NamedTuple):
    """An integer of a program that is known at launch only: the address of tensor ``number``, ``shift`` bytes on."""

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

    ``shift`` bytes from the beginning of the sums; ``(ceil(inputs / 4), ceil(outputs / 2), LANES)`` for a weight, whose
    columns from ``column`` on they are, or, if ``wide``, ``(outputs, inputs)``; ``(outputs, LANES)`` with
    ``inputs = 0`` for a vector.
    """

    parameter: int
    shift: int
    outputs: int
    inputs: int
    column: int
    wide: int


class Layout(NamedTuple):
    """A program for tensors of certain strides: all but the addresses. ``places`` count parameters first."""

    code: array[int]
    places: tuple[Place, ...]


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

    def layout(self, lead: tuple[int, ...], strides: list[tuple[int, ...]]) -> Layout:
        """For tensors ``(B, H, W, *channels)``, ``lead`` of them the first three sizes."""
        code = array("q", self.code.tolist())
        code[op.TOKENS], code[op.HEIGHT], code[op.ACROSS] = math.prod(lead), lead[1], lead[2]
        places = list(self._places)
        for at, number, leading in self._parts:
            steps = strides[number]
            shift = sum(i * step for i, step in zip(leading, steps[3:], strict=False))
            places.append(Place(at, self._parameters + number, 4 * shift))
            code[at + 1 : at + 5] = array("q", [4 * step for step in (*steps[:3], steps[-1])])
        return Layout(code, tuple(places))
