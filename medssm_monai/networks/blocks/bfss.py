"""Bidirectional fusion selective scan (BFSS) of Mamba-MIS."""

from __future__ import annotations

import torch
import torch.nn as nn

from ...ops.tokenwise import tokenwise
from .selective_core import DirectionalS6, IdentityS6

__all__ = ["BFSS", "SCAN_KINDS"]

SCAN_KINDS = {"bfss": ("rows_columns", "concat"), "ss2d": ("cross", "sum"), "identity": (None, "concat")}
"""Kind of scan -> (set of scan orders, None for no scan; how the directions are merged)."""


class BFSS(nn.Module):
    """One S6 over the rows and an independent S6 over the columns of a map, fused.

    The column result is restored to row order, then concat → LayerNorm(2C) → Linear(2C→C) → SiLU → Linear(C→C).
    ``scan="ss2d"`` is the ablation with four directions (rows, columns and their reversals) that are summed; its
    LayerNorm and first Linear see C channels (Decision; the source is silent). ``scan="identity"`` is the ablation that
    shows what the scans earn: both directions give the map itself, and what follows is unchanged; only for ``C = 1``
    there is no LayerNorm, which would see two equal values and give zero whatever the map is (Decision).

    Args:
        channels: ``C``.
        d_state: state size ``N``.
        scan: ``"bfss"``, ``"ss2d"`` or ``"identity"``.
        discretization: ``"zoh"`` or ``"euler"``.

    Raises:
        ValueError: when ``scan`` is unknown.
    """

    def __init__(self, channels: int, d_state: int = 32, scan: str = "bfss", discretization: str = "zoh") -> None:
        super().__init__()
        if scan not in SCAN_KINDS:
            raise ValueError(f"scan must be one of {sorted(SCAN_KINDS)}, got {scan!r}.")
        orders, merge = SCAN_KINDS[scan]
        self.s6: DirectionalS6 | IdentityS6
        if orders is None:
            self.s6 = IdentityS6(2, merge)
        else:
            self.s6 = DirectionalS6(channels, d_state, orders, 2, merge, discretization)
        fused = 2 * channels if merge == "concat" else channels
        norm = nn.Identity() if orders is None and channels == 1 else nn.LayerNorm(fused)
        self.fuse = nn.Sequential(norm, nn.Linear(fused, channels), nn.SiLU(), nn.Linear(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, H, W, C)`` to ``(B, H, W, C)``."""
        return tokenwise(self.fused, self.scanned(x))

    def scanned(self, x: torch.Tensor) -> torch.Tensor:
        """The scans alone: ``(B, H, W, C)`` to ``(B, H, W, 2, C)``, or to their sum ``(B, H, W, C)``."""
        return self.s6(x, merged=self.s6.merge != "concat")

    def fused(self, y: torch.Tensor) -> torch.Tensor:
        """What follows the scans, to ``(B, H, W, C)``; token by token."""
        return self.fuse(y.flatten(-2) if self.s6.merge == "concat" else y)
