"""The argument record of the kernels: sizes, and for every tensor its address and byte strides."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

__all__ = ["INDEX", "RECORD", "STATES", "TILE", "input_sizes", "make_params", "padded"]

TILE = 64  # tokens; the states between tiles are kept for the backward pass
STATES = 4  # rows of the state that a sweep over a tile holds in registers

SIZES = ("batch", "groups", "channels", "length", "states", "padded_states", "blocks", "parts", "chunks")
PROJECTION = ("work", "columns")  # see projection.py
FLAGS = ("softplus", "zoh", "has_dlast")
STRIDED = (
    "u",
    "delta",
    "z",
    "out",
    "pre",
    "B",
    "C",
    "du",
    "ddelta",
    "dz",
    "dout",
    "dB",
    "dC",
)  # (B, G, channel or state, token)
# Padded to whole vectors, contiguous, channels last: (G, E), (G, N, E), (B, G, tile, N, E), ...
PACKED = ("A", "D", "bias", "coef", "bounds", "last", "dA", "dD", "dbias", "dcoef", "dlast")
PROJECTED = ("steer", "steer_back", "dsteer")
PART_STEPS = ("out_p", "du_p", "ddelta_p", "dbias_p", "weights_s")  # bytes between partial sums
AXES = ("", "_b", "_g", "_c", "_t")

FIELDS = (
    *SIZES,
    *PROJECTION,
    *FLAGS,
    *PACKED,
    *PROJECTED,
    "order",
    *PART_STEPS,
    *(s + axis for s in STRIDED for axis in AXES),
)
INDEX = {name: i for i, name in enumerate(FIELDS)}
"""Place of each field in the record."""
_HAS_STRIDES = frozenset(STRIDED)
RECORD = np.dtype([(name, np.int64) for name in FIELDS])


def padded(size: int, multiple: int) -> int:
    """``size`` rounded up to a multiple."""
    return -(-size // multiple) * multiple


def make_params(values: dict[str, int], tensors: Mapping[str, Tensor | None]) -> array[int]:
    """One argument record for one launch; absent tensors have address 0. The caller keeps the tensors alive."""
    row = [0] * len(FIELDS)  # a list is filled several times faster than a record of NumPy
    for name, value in values.items():
        row[INDEX[name]] = value
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        i = INDEX[name]
        row[i] = tensor.data_ptr()
        if name in _HAS_STRIDES:
            b, g, c, t = tensor.stride()
            row[i + 1 : i + len(AXES)] = 4 * b, 4 * g, 4 * c, 4 * t
    return array("q", row)


def input_sizes(shape: Sequence[int], states: int, softplus: bool, discretization: str) -> dict[str, int]:
    """Entries of the argument record that all passes share: sizes and options. ``shape``: ``(B, G, E, L)``."""
    values = dict(zip(("batch", "groups", "channels", "length"), shape, strict=True))
    values |= {"states": states, "padded_states": padded(states, STATES)}
    return values | {"softplus": int(softplus), "zoh": int(discretization == "zoh")}
