"""Scan directions as data: how a map of tokens becomes a sequence and back.

Glossary: ``B`` batch, ``C`` channels, ``L`` tokens (product of the spatial sizes), ``G`` directions. Maps are
channel-last, ``(B, *spatial, C)`` with spatial axes in MONAI's order (``H, W`` or ``X, Y, Z``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import torch

from ...ops.tracing import is_capturing

__all__ = ["SCAN_SETS", "ScanOrder", "resolve_scan_orders", "to_maps", "to_token_groups", "visiting_table"]


@dataclass(frozen=True)
class ScanOrder:
    """One direction in which the tokens of a map are visited.

    Args:
        axes: spatial axes from the slowest to the fastest; ``(0, 1)`` reads a 2D map row by row, ``(1, 0)`` column by
            column.
        reverse: visit the tokens of that order from the last to the first.

    Raises:
        ValueError: when ``axes`` is no permutation of ``0 .. len(axes) - 1``.

    Example:
        >>> ScanOrder((1, 0)).to_tokens(torch.arange(6.).reshape(1, 2, 3, 1)).flatten().tolist()
        [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
    """

    axes: tuple[int, ...]
    reverse: bool = False

    def __post_init__(self) -> None:
        if sorted(self.axes) != list(range(len(self.axes))):
            raise ValueError(f"axes must be a permutation of 0..{len(self.axes) - 1}, got {self.axes}.")

    def to_tokens(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, *spatial, C)`` to ``(B, L, C)`` in this order."""
        n = len(self.axes)
        if x.ndim != n + 2:
            raise ValueError(f"a {n}D scan order takes maps of shape (B, *spatial, C), got {tuple(x.shape)}.")
        tokens = x.permute(0, *(a + 1 for a in self.axes), n + 1).flatten(1, n)  # (B, L, C)
        return tokens.flip(1) if self.reverse else tokens

    def to_map(self, tokens: torch.Tensor, spatial: Sequence[int]) -> torch.Tensor:
        """``(B, L, C)`` in this order back to ``(B, *spatial, C)``."""
        n = len(self.axes)
        if self.reverse:
            tokens = tokens.flip(1)
        x = tokens.unflatten(1, [spatial[a] for a in self.axes])  # axes in scan order
        back = [self.axes.index(a) + 1 for a in range(n)]
        return x.permute(0, *back, n + 1)


def _both_ways(axes: Sequence[Sequence[int]]) -> tuple[ScanOrder, ...]:
    return tuple(ScanOrder(tuple(a), r) for a in axes for r in (False, True))


def _turned(dims: int) -> list[tuple[int, ...]]:
    """One order for each axis, which is the fastest in it, by turning the axes around."""
    return [tuple((i + first) % dims for i in range(dims)) for first in range(dims)]


SCAN_SETS: dict[str, dict[int, tuple[ScanOrder, ...]]] = {
    "forward": {n: (ScanOrder(tuple(range(n))),) for n in (1, 2, 3)},
    "bidirectional": {n: _both_ways([range(n)]) for n in (1, 2, 3)},
    "rows_columns": {2: (ScanOrder((0, 1)), ScanOrder((1, 0)))},
    "cross": {2: _both_ways([(0, 1), (1, 0)])},
    "axes": {n: tuple(ScanOrder(a) for a in _turned(n)) for n in (2, 3)},
    "axes_both_ways": {n: _both_ways(_turned(n)) for n in (2, 3)},
    "tri_plane": {3: _both_ways([(0, 1, 2), (1, 0, 2), (2, 1, 0), (0, 2, 1)])},
    "tri_plane_full": {3: _both_ways(list(permutations(range(3))))},
}
"""Named sets: name -> spatial dimensions -> orders. Decision: ``cross`` lists each order before its reversal.

``axes`` has one order for each axis, in which that axis is the fastest; in 2D these are ``rows_columns``. Decision: in
3D they are (X, Y, Z), (Y, Z, X) and (Z, X, Y), each the one before turned around, so that each axis is also once the
slowest, and each of the three planes is swept whole by one order. ``axes_both_ways`` adds the reversals; in 2D it is
``cross``."""


def resolve_scan_orders(orders: str | Sequence[ScanOrder], spatial_dims: int) -> tuple[ScanOrder, ...]:
    """Look up a named set of scan orders, or check a sequence of :class:`ScanOrder`.

    Args:
        orders: a key of :data:`SCAN_SETS` or the orders themselves.
        spatial_dims: 1, 2 or 3.

    Raises:
        ValueError: when the name is unknown, does not exist in that many dimensions, or an order has other axes.
    """
    if isinstance(orders, str):
        if spatial_dims not in SCAN_SETS.get(orders, {}):
            known = sorted(name for name, dims in SCAN_SETS.items() if spatial_dims in dims)
            raise ValueError(f"orders={orders!r} is no scan set for spatial_dims={spatial_dims}; known sets: {known}.")
        return SCAN_SETS[orders][spatial_dims]
    resolved = tuple(orders)
    if not resolved or any(len(o.axes) != spatial_dims for o in resolved):
        raise ValueError(f"orders must be one or more ScanOrder with {spatial_dims} axes, got {resolved}.")
    return resolved


def _is_row_major(orders: Sequence[ScanOrder]) -> bool:
    return len(orders) == 1 and orders[0].axes == tuple(range(len(orders[0].axes))) and not orders[0].reverse


def to_token_groups(x: torch.Tensor, orders: Sequence[ScanOrder]) -> torch.Tensor:
    """``(B, *spatial, G, C)``, one slice per direction, to tokens ``(B, L, G, C)``, each slice in its own order."""
    if _is_row_major(orders):
        return x.flatten(1, -3)
    return torch.stack([order.to_tokens(x[..., g, :]) for g, order in enumerate(orders)], dim=2)


def to_maps(tokens: torch.Tensor, orders: Sequence[ScanOrder], spatial: Sequence[int]) -> torch.Tensor:
    """Tokens ``(B, L, G, C)``, each slice in its own order, back to ``(B, *spatial, G, C)``."""
    if _is_row_major(orders):
        return tokens.unflatten(1, tuple(spatial))
    return torch.stack([order.to_map(tokens[:, :, g], spatial) for g, order in enumerate(orders)], dim=-2)


@lru_cache(maxsize=128)
def _visiting_table(orders: tuple[ScanOrder, ...], spatial: tuple[int, ...], device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False):  # a table that counts its changes, so that scans need not check it each time
        positions = torch.arange(math.prod(spatial)).reshape(1, *spatial, 1)
        return torch.stack([order.to_tokens(positions).flatten() for order in orders]).to(device)


def scan_table(orders: tuple[ScanOrder, ...], spatial: tuple[int, ...], device: torch.device) -> torch.Tensor | None:
    """:func:`visiting_table`, or None where the places are visited as they lie."""
    return None if _is_row_major(orders) else visiting_table(orders, spatial, device)


def visiting_table(orders: tuple[ScanOrder, ...], spatial: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Position that each order visits at each step, ``(G, L)``; positions count the map row by row.

    This is the ``order`` argument of :func:`medssm_monai.ops.selective_scan`, which then needs no permuted copies.
    """
    make = _visiting_table.__wrapped__ if is_capturing() else _visiting_table  # an exporter's tensors outlive no export
    return make(orders, spatial, device)
