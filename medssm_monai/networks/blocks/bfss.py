"""Bidirectional fusion selective scan (BFSS) of Mamba-MIS."""

from __future__ import annotations

import torch
import torch.nn as nn

from ...ops.tokenwise import tokenwise
from ..layers import SCAN_SETS
from .selective_core import DirectionalS6, IdentityS6

__all__ = ["BFSS", "SCAN_KINDS"]

SCAN_KINDS = {
    "bfss": ("axes", "concat"),
    "ss2d": ("axes_both_ways", "sum"),
    "tri_plane": ("tri_plane", "sum"),
    "tri_plane_full": ("tri_plane_full", "sum"),
    "identity": (None, "concat"),
}
"""Kind of scan -> (set of scan orders, None for no scan; how the directions are merged)."""


class BFSS(nn.Module):
    """One S6 over the rows and an independent S6 over the columns of a map, fused; one for each axis of a volume.

    The column result is restored to row order, then concat → LayerNorm(2C) → Linear(2C→C) → SiLU → Linear(C→C).
    ``scan="ss2d"`` is the ablation with four directions (rows, columns and their reversals) that are summed; its
    LayerNorm and first Linear see C channels (Decision; the source is silent). ``scan="identity"`` is the ablation that
    shows what the scans earn: both directions give the map itself, and what follows is unchanged; only for ``C = 1``
    there is no LayerNorm, which would see equal values and give zero whatever the map is (Decision).

    Decision, as the source is 2D only: in 3D there are three independent S6, one for each axis, which is the fastest in
    its order (the set ``axes`` of :data:`~medssm_monai.networks.layers.SCAN_SETS`); what follows sees 3C channels.
    ``"ss2d"`` then has these three orders both ways, six directions. The sets of ClinicalFMamba, ``"tri_plane"`` (eight
    directions) and ``"tri_plane_full"`` (twelve), are there in 3D as well and summed like those of ``"ss2d"``.

    Args:
        channels: ``C``.
        d_state: state size ``N``.
        scan: ``"bfss"``, ``"ss2d"`` or ``"identity"``; in 3D also ``"tri_plane"`` or ``"tri_plane_full"``.
        discretization: ``"zoh"`` or ``"euler"``.
        spatial_dims: 2 or 3.

    Raises:
        ValueError: when ``scan`` is unknown, or does not exist in that many dimensions.
    """

    def __init__(
        self,
        channels: int,
        d_state: int = 32,
        scan: str = "bfss",
        discretization: str = "zoh",
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        known = [kind for kind, (name, _) in SCAN_KINDS.items() if name is None or spatial_dims in SCAN_SETS[name]]
        if scan not in known:
            raise ValueError(f"scan must be one of {sorted(known)} for spatial_dims={spatial_dims}, got {scan!r}.")
        orders, merge = SCAN_KINDS[scan]
        self.s6: DirectionalS6 | IdentityS6
        if orders is None:
            self.s6 = IdentityS6(spatial_dims, merge)
        else:
            self.s6 = DirectionalS6(channels, d_state, orders, spatial_dims, merge, discretization)
        fused = spatial_dims * channels if merge == "concat" else channels
        norm = nn.Identity() if orders is None and channels == 1 else nn.LayerNorm(fused)
        self.fuse = nn.Sequential(norm, nn.Linear(fused, channels), nn.SiLU(), nn.Linear(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, *spatial, C)`` to ``(B, *spatial, C)``."""
        return tokenwise(self.fused, self.scanned(x), spatial_dims=self.spatial_dims)

    def scanned(self, x: torch.Tensor) -> torch.Tensor:
        """The scans alone: ``(B, *spatial, C)`` to ``(B, *spatial, G, C)``, or to their sum ``(B, *spatial, C)``."""
        return self.s6(x, merged=self.s6.merge != "concat")

    def fused(self, y: torch.Tensor) -> torch.Tensor:
        """What follows the scans, to ``(B, *spatial, C)``; token by token."""
        return self.fuse(y.flatten(-2) if self.s6.merge == "concat" else y)
