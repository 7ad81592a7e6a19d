"""The argument record of the kernels: sizes, and for every tensor its address and byte strides."""

from __future__ import annotations

from array import array

import numpy as np
import torch
from torch import Tensor

from ...arguments import ScanArguments
from .vector import LANES

__all__ = ["RECORD", "STATES", "TILE", "input_sizes", "input_tensors", "make_params", "pack", "padded"]

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
_INDEX = {name: i for i, name in enumerate(FIELDS)}
_HAS_STRIDES = frozenset(STRIDED)
RECORD = np.dtype([(name, np.int64) for name in FIELDS])


def padded(size: int, multiple: int) -> int:
    """``size`` rounded up to a multiple."""
    return -(-size // multiple) * multiple


def make_params(sizes: dict[str, int], tensors: dict[str, Tensor | None]) -> np.ndarray:
    """One argument record for one launch; absent tensors have address 0. The caller keeps the tensors alive."""
    row = [0] * len(FIELDS)  # a list is filled several times faster than a record of NumPy
    for name, value in sizes.items():
        row[_INDEX[name]] = value
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        i = _INDEX[name]
        row[i] = tensor.data_ptr()
        if name in _HAS_STRIDES:
            row[i + 1 : i + len(AXES)] = [4 * stride for stride in tensor.stride()]
    return np.frombuffer(array("q", row), RECORD)


def input_sizes(args: ScanArguments) -> dict[str, int]:
    """Entries of the argument record that both passes share: sizes and options."""
    batch, groups, channels, length = args.u.shape
    states = args.A.shape[-1]
    sizes = {"batch": batch, "groups": groups, "channels": channels, "length": length, "states": states}
    sizes |= {"padded_states": padded(states, STATES), "softplus": int(args.delta_softplus)}
    return sizes | {"zoh": int(args.discretization == "zoh")}


def pack(x: Tensor | None, multiple: int = STATES) -> Tensor | None:
    """``(G, E)`` -> ``(G, E')``, ``(G, E, N)`` -> ``(G, N', E')``: contiguous, zeros up to whole vectors and sweeps.

    ``N'`` is a multiple of ``multiple``.
    """
    if x is None or (x.dim() == 2 and x.shape[1] % LANES == 0 and x.is_contiguous()):
        return x
    rows = x.detach().numpy()[..., None] if x.dim() == 2 else x.detach().numpy()
    groups, channels, states = rows.shape
    depth = padded(states, multiple) if x.dim() == 3 else 1
    memory = np.zeros((groups, depth, padded(channels, LANES)), np.float32)
    memory[:, :states, :channels] = rows.transpose(0, 2, 1)
    return torch.from_numpy(memory)


def input_tensors(args: ScanArguments, coef: Tensor | None) -> dict[str, Tensor | None]:
    """Inputs in the argument record that both passes share; weights are packed."""
    tensors = {"u": args.u, "delta": args.delta, "B": args.B, "C": args.C, "order": args.order}
    weights = {"A": args.A, "D": args.D, "bias": args.delta_bias, "coef": coef}
    return tensors | {name: pack(x) for name, x in weights.items()}
