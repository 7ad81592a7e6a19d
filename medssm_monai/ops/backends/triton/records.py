"""What kernels are given and what they give, by name: the records that launches and kernels share."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

__all__ = ["Gradients", "Inputs", "Outputs", "Program", "Sizes", "Strides", "Tiling"]

Stride = tuple[int, ...]


class Tiling(NamedTuple):
    """Compile-time sizes of a tile, all powers of two."""

    channels: int
    tokens: int
    states: int
    warps: int


class Inputs(NamedTuple):
    """Tensors of any floating dtype and any strides; ``A``, ``D``, ``bias`` and ``order`` are contiguous."""

    u: Tensor  # (B, G, E, L)
    delta: Tensor  # (B, G, E, L)
    A: Tensor  # (G, E, N)
    B: Tensor  # (B, G, N, L) or (G, E, N)
    C: Tensor  # (B, G, N, L) or (G, E, N)
    D: Tensor | None  # (G, E)
    z: Tensor | None  # (B, G, E, L)
    bias: Tensor | None  # (G, E)
    order: Tensor | None  # (G, L), int32
    scattered: int | None  # 1 where neighboring steps do not lie side by side in memory


class Strides(NamedTuple):
    """Strides in elements of the inputs that are read through strides; of ``dout`` in the backward pass."""

    u: Stride
    delta: Stride
    B: Stride
    C: Stride
    z: Stride | None
    dout: Stride | None


class Sizes(NamedTuple):
    """Lengths of the axes; ``L`` is cut into ``tiles``, which ``spans`` programs share, ``per_span`` each."""

    groups: int
    channels: int
    length: int
    states: int
    tiles: int
    spans: int
    per_span: int


class Outputs(NamedTuple):
    """Contiguous results; states in float32."""

    out: Tensor  # (B, G, E, L)
    last: Tensor  # (B, G, E, N)
    bounds: Tensor | None  # (B, G, tiles, E, N): the state before each tile, for the backward pass


class Gradients(NamedTuple):
    """Contiguous results. What several programs contribute to has an axis of partial sums, added up afterwards."""

    u: Tensor  # (B, G, E, L)
    delta: Tensor  # (B, G, E, L)
    z: Tensor | None  # (B, G, E, L)
    A: Tensor  # (B, G, spans, E, N)
    B: Tensor  # (B, G, channel blocks, N, L), or as A where B is constant
    C: Tensor  # as B
    D: Tensor | None  # (B, G, spans, E)
    bias: Tensor | None  # (B, G, spans, E)


class Program(NamedTuple):
    """What of the scan one program computes; inside kernels only."""

    sample: Any
    group: Any
    rows: Any  # (E,): channels
    has_row: Any  # (E,): which of them exist
