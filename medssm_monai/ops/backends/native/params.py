"""The argument record of the kernels: sizes, and for every tensor its address and byte strides."""

from __future__ import annotations

import numpy as np
from torch import Tensor

__all__ = ["CHANNEL_MULTIPLE", "STATES", "TILE", "make_params", "padded"]

TILE = 64  # tokens; the states between tiles are kept for the backward pass
STATES = 4  # rows of the state that a sweep over a tile holds in registers
CHANNEL_MULTIPLE = 16  # every vector width divides it

SIZES = ("batch", "groups", "channels", "length", "states", "padded_states", "blocks", "parts", "chunks")
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
PART_STEPS = ("out_p", "du_p", "ddelta_p", "dbias_p", "weights_s")  # bytes between shares to be added up
AXES = ("", "_b", "_g", "_c", "_t")

FIELDS = (*SIZES, *FLAGS, *PACKED, "order", *PART_STEPS, *(s + axis for s in STRIDED for axis in AXES))
_PLACE = {name: i for i, name in enumerate(FIELDS)}
_RECORD = np.dtype([(name, np.int64) for name in FIELDS])


def padded(size: int, multiple: int) -> int:
    """``size`` rounded up to a multiple."""
    return -(-size // multiple) * multiple


def make_params(sizes: dict[str, int], tensors: dict[str, Tensor | None]) -> np.ndarray:
    """One record for one kernel launch; tensors that are absent have address 0. The caller keeps the tensors alive."""
    row = [0] * len(FIELDS)  # a list is filled several times faster than a record of NumPy
    for name, value in sizes.items():
        row[_PLACE[name]] = value
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        i = _PLACE[name]
        row[i] = tensor.data_ptr()
        if name in STRIDED:
            row[i + 1 : i + len(AXES)] = [4 * stride for stride in tensor.stride()]
    return np.array(row, np.int64).view(_RECORD)
