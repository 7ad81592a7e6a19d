"""Attention-based multi-scale feature fusion bridge (AMFFB) of Mamba-MIS, on channel-last maps ``(B, *spatial, C)``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.layers import Conv

from ...ops.arguments import cast
from ...ops.tokenwise import is_hooked
from ..initialization import near_identity
from ..layers import convolve_depthwise
from .bfss import BFSS

__all__ = ["MultiScaleFusion", "MultiScaleFusionBridge", "ScanAttention"]

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)


class ScanAttention(nn.Module):
    """SCABFSS: spatial, then channel attention, each steered by a BFSS, with a residual.

    Spatial: channel mean and maximum → 7×7 convolution without bias → BFSS(1) → sigmoid. Channel: average and maximum
    over the map → Linear(C → max(1, C/16)) → BFSS → SiLU → Linear, both without bias and shared by the two, summed →
    sigmoid. The channel BFSS sees a single token; under ``"euler"`` its ``A`` therefore gets no gradient. Decision: in
    3D the convolution is 7×7×7 and the token of the channel BFSS a volume of one voxel.
    """

    def __init__(
        self,
        dim: int,
        d_state: int = 32,
        scan: str = "bfss",
        discretization: str = "zoh",
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        hidden = max(1, dim // 16)
        self.spatial_conv = Conv[Conv.CONV, spatial_dims](2, 1, 7, padding=3, bias=False)
        self.spatial_scan = BFSS(1, d_state, scan, discretization, spatial_dims)
        self.squeeze = nn.Linear(dim, hidden, bias=False)
        self.channel_scan = BFSS(hidden, d_state, scan, discretization, spatial_dims)
        self.excite = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, *spatial, C)`` to ``(B, *spatial, C)``."""
        axes = tuple(range(1, x.ndim - 1))
        pooled = torch.stack([x.mean(-1), x.amax(-1)], dim=1)  # (B, 2, *spatial)
        spatial = self.spatial_scan(self._around(pooled).movedim(1, -1)).sigmoid()  # (B, *spatial, 1)
        y = x * spatial
        pooled = torch.cat([y.mean(axes, keepdim=True), y.amax(axes, keepdim=True)])  # (2B, 1, ..., 1, C)
        weights = self.excite(F.silu(self.channel_scan(self.squeeze(pooled))))  # (2B, 1, ..., 1, C)
        average, maximum = weights.unflatten(0, (2, -1)).unbind()  # chunk would tie an export to its batch size
        return x + y * (average + maximum).sigmoid()

    def _around(self, pooled: torch.Tensor) -> torch.Tensor:
        """The convolution; for exporters with a bias of 0: the ONNX converter writes a 3D one without bias wrongly."""
        if torch.compiler.is_exporting() and isinstance(self.spatial_conv, nn.Conv3d):
            weight = self.spatial_conv.weight
            return F.conv3d(pooled, weight, torch.zeros(1, dtype=weight.dtype, device=weight.device), padding=3)
        y: torch.Tensor = self.spatial_conv(pooled)
        return y


class MultiScaleFusion(nn.Module):
    """Every level receives the product of all levels.

    Each level is reduced to ``width`` channels (1×1) and resampled to each level (adaptive average pooling down,
    bilinear up), one depthwise 3×3 convolution per source/target pair, multiplied over the sources in float32, then 1×1
    back to the level's width. In 3D (Decision) trilinear up, and one axis more for every convolution.
    """

    def __init__(self, dims: Sequence[int], width: int = 32, spatial_dims: int = 2) -> None:
        super().__init__()
        n, conv = len(dims), Conv[Conv.CONV, spatial_dims]
        self.reduce = nn.ModuleList(conv(d, width, 1) for d in dims)
        self.pairs = nn.ModuleList(conv(width, width, 3, padding=1, groups=width) for _ in range(n * n))
        self.restore = nn.ModuleList(conv(width, d, 1) for d in dims)

    def start_signal(self) -> None:
        """Start as a skip connection: each level gets itself back, in at most ``width`` orthogonal directions, times
        factors near 1 from the other levels. PyTorch's values multiply four maps of a quarter each: what is left is the
        bias of ``restore``, the same for every image."""
        n = len(self.reduce)
        for reduce, restore in zip(self.reduce, self.restore, strict=True):
            assert isinstance(reduce, CONVOLUTIONS) and isinstance(restore, CONVOLUTIONS)
            nn.init.orthogonal_(reduce.weight)
            restore.weight.copy_(reduce.weight.transpose(0, 1))
            for bias in (reduce.bias, restore.bias):
                assert bias is not None
                bias.zero_()
        for i, pair in enumerate(self.pairs):
            assert isinstance(pair, CONVOLUTIONS) and pair.bias is not None
            if i // n == i % n:
                near_identity(pair, share=0.0)
            else:
                pair.weight.mul_(0.5)
                pair.bias.fill_(1.0)

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Levels ``(B, *spatial_i, C_i)``, finest first, to levels of the same shapes."""
        reduced = [_each_place(conv, m) for conv, m in zip(self.reduce, maps, strict=True)]
        return [self._fused(reduced, target) for target in range(len(maps))]

    def _fused(self, maps: Sequence[torch.Tensor], target: int) -> torch.Tensor:
        """What one level receives, from the reduced levels ``(B, *spatial_i, width)``."""
        n = len(maps)
        pairs = list(self.pairs[target * n : (target + 1) * n])
        sources = [_resample(m, maps[target].shape[1:-1]) for m in maps]
        if all(_is_bare(conv) for conv in pairs):  # one convolution for all sources, side by side
            weight, bias = (torch.cat([getattr(conv, name) for conv in pairs]) for name in ("weight", "bias"))
            every = convolve_depthwise(torch.cat(sources, dim=-1), weight, bias)
            parts = cast(every, torch.float32).unflatten(-1, (n, -1)).unbind(-2)
        else:
            made = (conv(x.movedim(-1, 1)).movedim(1, -1) for conv, x in zip(pairs, sources, strict=True))
            parts = tuple(cast(x, torch.float32) for x in made)
        product = parts[0]
        for part in parts[1:]:
            product = product * part
        return _each_place(self.restore[target], product.to(maps[target].dtype))


class MultiScaleFusionBridge(nn.Module):
    """AMFFB: :class:`ScanAttention` on every level, then :class:`MultiScaleFusion` over the levels.

    Args:
        dims: channels of the levels, finest first.
        attention: ``False`` leaves out the attention (ablation).
        fusion: ``False`` leaves out the fusion over the levels (ablation); without both the bridge is a plain skip.
        d_state, scan, discretization: of the scans inside.
        spatial_dims: 2 or 3.
    """

    def __init__(
        self,
        dims: Sequence[int],
        attention: bool = True,
        fusion: bool = True,
        d_state: int = 32,
        scan: str = "bfss",
        discretization: str = "zoh",
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        self.attention = nn.ModuleList(
            ScanAttention(d, d_state, scan, discretization, spatial_dims) if attention else nn.Identity() for d in dims
        )
        self.fusion = MultiScaleFusion(dims, spatial_dims=spatial_dims) if fusion else nn.Identity()

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Levels ``(B, *spatial_i, C_i)``, finest first, to levels of the same shapes."""
        return self.fusion([attend(m) for attend, m in zip(self.attention, maps, strict=True)])


def _each_place(conv: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A 1×1 convolution of a channel-last map."""
    if isinstance(conv, CONVOLUTIONS) and _is_bare(conv):
        return F.linear(x, conv.weight.flatten(1), conv.bias)
    y: torch.Tensor = conv(x.movedim(-1, 1))
    return y.movedim(1, -1)


def _is_bare(m: nn.Module) -> bool:
    """Whether nothing hangs on a module that its own call would run."""
    return not is_hooked(m) and m._parameters.get("weight") is not None


def _resample(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """``(B, *spatial, C)`` to another size, no axis of which is finer where one is coarser."""
    maps, before = x.movedim(-1, 1), x.shape[1:-1]
    if any(old > new for old, new in zip(before, size, strict=True)):
        if len(size) == 2:
            return F.adaptive_avg_pool2d(maps, (size[0], size[1])).movedim(1, -1)
        if any(old % new for old, new in zip(before, size, strict=True)):
            return F.adaptive_avg_pool3d(maps, (size[0], size[1], size[2])).movedim(1, -1)
        kernel = [old // new for old, new in zip(before, size, strict=True)]
        return F.avg_pool3d(maps, kernel).movedim(1, -1)  # the same where sizes divide; ONNX has no adaptive one in 3D
    if any(old < new for old, new in zip(before, size, strict=True)):
        mode = "bilinear" if len(size) == 2 else "trilinear"
        return F.interpolate(maps, size=tuple(size), mode=mode, align_corners=False).movedim(1, -1)
    return x
