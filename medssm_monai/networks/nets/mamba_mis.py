"""Mamba-MIS: segmentation of images and volumes with selective scans along every axis and a spectral gate.

Source: Wen, Shen, Shi, Cao, Sheng, "Medical image segmentation via visual bidirectional state space model with
attention-based multi-scale feature fusion bridge and spectral gate" (2024); structure from the authors' public notes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any, TypedDict

import torch
import torch.nn as nn
from monai.data import MetaTensor
from monai.networks.layers import Conv
from monai.utils import ensure_tuple_rep

from ...ops.tracing import is_eager
from ..blocks import AttentionBlock, BSSSBlock, ConvBlock, MultiScaleFusionBridge, PatchEmbed, PatchExpand, PatchMerge
from ..initialization import start
from ..layers import instance_normalized, set_drop_path

__all__ = ["MambaMIS", "mamba_mis_3d_b", "mamba_mis_3d_s", "mamba_mis_b", "mamba_mis_l", "mamba_mis_s"]

BLOCKS = ("bsss", "conv", "vit")
STRIDE = 32
STRIDES = (4, 2, 2, 2)
IMG_SIZE = {2: 256, 3: 64}
SPECTRAL_GRID = {2: None, 3: 16}
SUPERVISED = slice(1, 4)
"""Stages of the decoder, at 1/16, 1/8 and 1/4, that deep supervision compares with the label as well."""


class _ScanSettings(TypedDict):
    d_state: int
    scan: str
    discretization: str


class _Stage(nn.Sequential):
    """Blocks one after another, each with an instance normalization behind it where ``normalized``."""

    def __init__(self, blocks: Iterable[nn.Module], normalized: bool) -> None:
        super().__init__(*blocks)
        self.normalized = normalized

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self:
            x = instance_normalized(block(x)) if self.normalized else block(x)
        return x


class MambaMIS(nn.Module):
    """U-shaped segmentation network on channel-last maps, in 2D and 3D.

    Patch embedding (4×4) → four encoder stages at 1/4, 1/8, 1/16, 1/32 resolution with patch merging between them → a
    bridge over all four levels (AMFFB) whose outputs are added to the first four decoder stages, before their blocks →
    five decoder stages at 1/32, 1/16, 1/8, 1/4, 1/1 with patch expansion ×2, ×2, ×2, ×4 → 1×1 convolution to logits.

    Decision: the source is 2D only. In 3D every part is its own counterpart with one axis more: patches of 4×4×4, three
    scans in place of two (:class:`~medssm_monai.networks.blocks.BFSS`), convolutions of 3×3×3, a gate on the
    three-dimensional transform, and merging of 2×2×2 neighbors that doubles the channels as in 2D.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the logits.
        img_size: size of the image, one number or one per axis, that the spectral weights are stored for; 256 in 2D and
            64 in 3D by default. Multiples of 32 (of the product of ``strides``). Any other multiple works at run time:
            the weights are resampled.
        depths: blocks of the four encoder stages.
        decoder_depths: blocks of the five decoder stages.
        base_dim: channels at 1/4 resolution, an even number of at least 6; doubles from stage to stage.
        d_state: state size ``N`` of the scans.
        discretization: ``"zoh"`` (the paper) or ``"euler"`` (the published Mamba kernels).
        scan: ``"bfss"``, ``"ss2d"`` (ablation: four directions, in 3D six, summed) or ``"identity"`` (ablation: no scan
            at all); in 3D also ``"tri_plane"`` and ``"tri_plane_full"``, the sets of ClinicalFMamba.
        block: ``"bsss"``, ``"conv"`` or ``"vit"`` (ablations).
        spectral_gate, attention_bridge, fusion_bridge: ``False`` removes that part (ablations).
        dropout: probability in every block, before its residual, and before the head.
        drop_path: probability that a sample goes without the branch of a block in training (stochastic depth), rising
            from near 0 in the first stage to this in the encoder's last and the decoder's first, and falling from there
            on; see :func:`~medssm_monai.networks.layers.set_drop_path`.
        instance_norm: the patch embedding and every block, but for the last stage's, are followed by an instance
            normalization without parameters, as the layers of MONAI's ``UNet`` are (not in the paper of Mamba-MIS,
            whose norms treat each place by itself). Weights learned without it are none for a network with it.
        deep_supervision: in training the decoder's stages at 1/4, 1/8 and 1/16 give logits of their own, which
            ``monai.losses.DeepSupervisionLoss`` compares with smaller labels (Lee et al. 2015, arXiv:1409.5185; not in
            the paper of Mamba-MIS). Evaluation and prediction take the full-size logits alone.
        init: ``"signal"``: the scans carry state and the bridge passes its levels from the first step
            (:mod:`~medssm_monai.networks.initialization`); ``"published"``: the values of PyTorch's layers, with which
            no skip connection reaches the decoder at the start. Feed centered images, (x - 0.5) / 0.25 for instance.
        strides: by how much the patch embedding and the three mergings lower the resolution, a number or one per axis
            each; the patch expansions raise it by as much. ``((4, 4, 2), (2, 2, 2), (2, 2, 2), (2, 2, 1))`` takes
            volumes with a thin last axis, whose size then is a multiple of 8; with ``(4, 2, 2, 1)`` the fourth stage
            stays at 1/16 and sizes are multiples of 16.
        spectral_grid: the spectral weights are stored for maps of at most so many places along each axis, and resampled
            for larger ones. ``None`` is 16 in 3D, where they would outnumber all other parameters many times, and no
            bound in 2D, as in the source. A bound of 8 makes filters that reach about 8 places, of few weights.

    Raises:
        ValueError: for values outside the lists and sizes above.

    Example:
        >>> mamba_mis_s()(torch.rand(1, 3, 64, 96)).shape
        torch.Size([1, 1, 64, 96])
        >>> mamba_mis_3d_s(out_channels=4)(torch.rand(1, 1, 32, 32, 64)).shape
        torch.Size([1, 4, 32, 32, 64])
    """

    training_only = ("supervision_heads",)
    """Parts without which the network predicts the same; weights may come with or without them."""

    output_layers = ("head", "supervision_heads")
    """Layers with a row for each class."""

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        img_size: Sequence[int] | int | None = None,
        depths: Sequence[int] = (1, 2, 2, 2),
        decoder_depths: Sequence[int] = (2, 2, 2, 1, 1),
        base_dim: int = 16,
        d_state: int = 32,
        discretization: str = "zoh",
        scan: str = "bfss",
        block: str = "bsss",
        spectral_gate: bool = True,
        attention_bridge: bool = True,
        fusion_bridge: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        instance_norm: bool = False,
        deep_supervision: bool = False,
        init: str = "signal",
        strides: Sequence[Sequence[int] | int] = STRIDES,
        spectral_grid: int | None = None,
    ) -> None:
        super().__init__()
        if spatial_dims not in IMG_SIZE:
            raise ValueError(f"MambaMIS is available for spatial_dims=2 and 3, got {spatial_dims}.")
        if len(depths) != 4 or len(decoder_depths) != 5:
            raise ValueError(f"depths needs 4 and decoder_depths 5 entries, got {depths} and {decoder_depths}.")
        if block not in BLOCKS:
            raise ValueError(f"block must be one of {BLOCKS}, got {block!r}.")
        if base_dim < 6 or base_dim % 2:
            raise ValueError(f"base_dim must be an even number of at least 6, got {base_dim}.")
        if spectral_grid is not None and spectral_grid < 1:
            raise ValueError(f"spectral_grid must be at least 1, or None, got {spectral_grid}.")
        factors = _per_axis(strides, spatial_dims)
        self.spatial_dims, self.in_channels = spatial_dims, in_channels
        self.stride = tuple(math.prod(axis) for axis in zip(*factors, strict=True))
        img_size = ensure_tuple_rep(IMG_SIZE[spatial_dims] if img_size is None else img_size, spatial_dims)
        _check_size(img_size, "img_size", self.stride)
        grid = SPECTRAL_GRID[spatial_dims] if spectral_grid is None else spectral_grid
        dims = [base_dim * 2**i for i in range(4)]
        scan_args: _ScanSettings = {"d_state": d_state, "scan": scan, "discretization": discretization}

        def stage(dim: int, depth: int, scale: Sequence[int], normalized: bool) -> _Stage:
            size = [min(s // by, grid or s) for s, by in zip(img_size, scale, strict=True)]

            def build() -> nn.Module:
                if block == "conv":
                    return ConvBlock(dim, dropout, spatial_dims)
                if block == "vit":
                    return AttentionBlock(dim, dropout)
                return BSSSBlock(dim, size, spectral_gate=spectral_gate, dropout=dropout, **scan_args)

            return _Stage((build() for _ in range(depth)), normalized)

        scales = list(accumulate(factors, lambda a, b: tuple(x * y for x, y in zip(a, b, strict=True))))
        self.patch_embed = PatchEmbed(in_channels, dims[0], factors[0], spatial_dims)
        self.instance_norm = instance_norm
        self.encoder = nn.ModuleList(stage(*of, instance_norm) for of in zip(dims, depths, scales, strict=True))
        self.merge = nn.ModuleList(PatchMerge(d, f, spatial_dims) for d, f in zip(dims, factors[1:], strict=False))
        self.bridge = MultiScaleFusionBridge(
            dims, attention_bridge, fusion_bridge, spatial_dims=spatial_dims, **scan_args
        )
        out_dims, out_scales = [*reversed(dims), base_dim // 2], [*reversed(scales), (1,) * spatial_dims]
        norms = [instance_norm] * 4 + [False]  # not before the head: its logits would have one mean over every image
        self.decoder = nn.ModuleList(stage(*of) for of in zip(out_dims, decoder_depths, out_scales, norms, strict=True))
        self.expand = nn.ModuleList(
            PatchExpand(a, b, f, spatial_dims) for (a, b), f in zip(pairwise(out_dims), reversed(factors), strict=True)
        )
        self.dropout = nn.Dropout(dropout)
        head = Conv[Conv.CONV, spatial_dims]
        supervised = out_dims[SUPERVISED] if deep_supervision else []
        self.supervision_heads = nn.ModuleList(head(dim, out_channels, 1) for dim in supervised)
        self.head = head(out_dims[-1], out_channels, 1)
        start(self, init)
        set_drop_path(drop_path, self.encoder)
        set_drop_path(drop_path, *reversed(self.decoder))

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Images ``(B, in_channels, *spatial)`` to logits ``(B, out_channels, *spatial)``; sizes multiples of 32.

        With ``deep_supervision`` and in training mode to a list of four: the logits, then those at 1/4, 1/8 and 1/16.

        Raises:
            ValueError: when a size is no multiple of 32 (of the product of ``strides``), or when there are other than
                ``spatial_dims`` of them; with ``instance_norm`` also when an image leaves one place in the deepest map.
        """
        if x.ndim != self.spatial_dims + 2:
            raise ValueError(
                f"MambaMIS in {self.spatial_dims}D takes images (B, {self.in_channels}, *spatial) with "
                f"{self.spatial_dims} spatial axes, got {tuple(x.shape)}. Choose spatial_dims by the images."
            )
        _check_size(x.shape[2:], "the input", self.stride)
        if self.instance_norm and is_eager() and tuple(x.shape[2:]) == self.stride:
            raise ValueError(
                f"instance_norm needs more than one place in the deepest maps; images of {self.stride} leave one. "
                f"Resize them to {tuple(2 * s for s in self.stride)} or more, or leave instance_norm out."
            )
        if isinstance(x, MetaTensor):  # its bookkeeping would run again in each of the hundreds of operations below
            x = x.as_tensor()
        y, levels = self.patch_embed(x), []
        y = instance_normalized(y) if self.instance_norm else y
        for i, stage in enumerate(self.encoder):
            y = stage(y if i == 0 else self.merge[i - 1](y))
            levels.append(y)
        bridges, decoded = self.bridge(levels), []
        for i, stage in enumerate(self.decoder):
            y = y if i == 0 else self.expand[i - 1](y)
            y = stage(y + bridges[3 - i] if i < 4 else y)
            decoded.append(y)
        logits = self.head(self.dropout(y).movedim(-1, 1))
        if not (self.training and self.supervision_heads):
            return logits
        below = zip(self.supervision_heads, decoded[SUPERVISED], strict=True)
        return [logits, *reversed([head(y.movedim(-1, 1)) for head, y in below])]


def _per_axis(strides: Sequence[Sequence[int] | int], spatial_dims: int) -> list[tuple[int, ...]]:
    """One tuple of strides per stage."""
    if len(strides) != len(STRIDES):
        raise ValueError(
            f"strides needs {len(STRIDES)} entries, those of the patches and of three mergings: {strides}."
        )
    factors = [ensure_tuple_rep(s, spatial_dims) for s in strides]
    if any(not isinstance(s, int) or s < 1 for factor in factors for s in factor):
        raise ValueError(f"strides must be whole numbers of at least 1, got {strides}.")
    return factors


def _check_size(size: Sequence[int], what: str, stride: Sequence[int]) -> None:
    if any(int(s) % by or int(s) < by for s, by in zip(size, stride, strict=True)):
        named = "height and width" if len(size) == 2 else "the size"
        needed = f"{stride[0]}" if len(set(stride)) == 1 else f"{tuple(stride)}, axis by axis"
        raise ValueError(
            f"{what} has {named} {tuple(int(s) for s in size)}; MambaMIS needs multiples of {needed}. "
            "Resize or pad the image, or run a sliding window with such a roi_size."
        )


def mamba_mis_s(**overrides: Any) -> MambaMIS:
    """Mamba-MIS-S: 2,939,460 parameters at 256², 3 → 1 channels. ``overrides`` go to :class:`MambaMIS`."""
    return MambaMIS(**{"depths": (1, 2, 2, 2), "decoder_depths": (2, 2, 2, 1, 1), **overrides})


def mamba_mis_b(**overrides: Any) -> MambaMIS:
    """Mamba-MIS-B: 4,280,588 parameters at 256², 3 → 1 channels. ``overrides`` go to :class:`MambaMIS`."""
    return MambaMIS(**{"depths": (2, 2, 2, 2), "decoder_depths": (2, 2, 2, 2, 2), **overrides})


def mamba_mis_l(**overrides: Any) -> MambaMIS:
    """Mamba-MIS-L: 9,064,020 parameters at 256², 3 → 1 channels. ``overrides`` go to :class:`MambaMIS`."""
    return MambaMIS(**{"depths": (3, 4, 4, 9), "decoder_depths": (9, 4, 4, 3, 3), **overrides})


def mamba_mis_3d_s(**overrides: Any) -> MambaMIS:
    """Mamba-MIS-S for volumes: 2,093,058 parameters at 64³, 1 → 1 channels. ``overrides`` go to :class:`MambaMIS`."""
    return mamba_mis_s(**{"spatial_dims": 3, "in_channels": 1, **overrides})


def mamba_mis_3d_b(**overrides: Any) -> MambaMIS:
    """Mamba-MIS-B for volumes: 2,481,594 parameters at 64³, 1 → 1 channels. ``overrides`` go to :class:`MambaMIS`."""
    return mamba_mis_b(**{"spatial_dims": 3, "in_channels": 1, **overrides})
