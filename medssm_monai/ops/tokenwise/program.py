"""A program of the kernel: its instructions, and what is known at launch only."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from . import kernel as op

__all__ = ["Layout", "Part", "Place", "Program", "Sums"]

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
