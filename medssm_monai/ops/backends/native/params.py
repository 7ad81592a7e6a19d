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

_RECORD = np.dtype(
    [
        (name, np.int64)
        for name in (*SIZES, *FLAGS, *PACKED, "order", *PART_STEPS, *(s + axis for s in STRIDED for axis in AXES))
    ]
)


def padded(size: int, multiple: int) -> int:
    """``size`` rounded up to a multiple."""
    return -(-size // multiple) * multiple


def make_params(sizes: dict[str, int], tensors: dict[str, Tensor | None]) -> np.ndarray:
    """One record for one kernel launch; tensors that are absent have address 0. The caller keeps the tensors alive."""
    record = np.zeros(1, _RECORD)
    row = record[0]
    for name, value in sizes.items():
        row[name] = value
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        row[name] = tensor.data_ptr()
        if name in STRIDED:
            for axis, stride in zip(AXES[1:], tensor.stride(), strict=True):
                row[name + axis] = stride * 4
    return record
