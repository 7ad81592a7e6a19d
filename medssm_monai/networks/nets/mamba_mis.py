"""Mamba-MIS: 2D segmentation with selective scans over rows and columns and a spectral gate.

Source: Wen, Shen, Shi, Cao, Sheng, "Medical image segmentation via visual bidirectional state space model with
attention-based multi-scale feature fusion bridge and spectral gate" (2024); structure from the authors' public notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypedDict

import torch
import torch.nn as nn
from monai.data import MetaTensor
from monai.utils import ensure_tuple_rep

from ..blocks import AttentionBlock, BSSSBlock, ConvBlock, MultiScaleFusionBridge, PatchEmbed, PatchExpand, PatchMerge
from ..initialization import start
from ..layers import set_drop_path

__all__ = ["MambaMIS", "mamba_mis_b", "mamba_mis_l", "mamba_mis_s"]

BLOCKS = ("bsss", "conv", "vit")
STRIDE = 32
SUPERVISED = slice(1, 4)
"""Stages of the decoder, at 1/16, 1/8 and 1/4, that deep supervision compares with the label as well."""


class _ScanSettings(TypedDict):
    d_state: int
    scan: str
    discretization: str


class MambaMIS(nn.Module):
    """U-shaped segmentation network on channel-last maps.

    Patch embedding (4×4) → four encoder stages at 1/4, 1/8, 1/16, 1/32 resolution with patch merging between them → a
    bridge over all four levels (AMFFB) whose outputs are added to the first four decoder stages, before their blocks →
    five decoder stages at 1/32, 1/16, 1/8, 1/4, 1/1 with patch expansion ×2, ×2, ×2, ×4 → 1×1 convolution to logits.

    Args:
        spatial_dims: 2 (3 is not available yet).
        in_channels: channels of the image.
        out_channels: channels of the logits.
        img_size: height and width, multiples of 32, that the spectral weights are stored for. Any other multiple of 32
            works at run time: the weights are resampled.
        depths: blocks of the four encoder stages.
        decoder_depths: blocks of the five decoder stages.
        base_dim: channels at 1/4 resolution, an even number of at least 6; doubles from stage to stage.
        d_state: state size ``N`` of the scans.
        discretization: ``"zoh"`` (the paper) or ``"euler"`` (the published Mamba kernels).
        scan: ``"bfss"``, ``"ss2d"`` (ablation: four directions, summed) or ``"identity"`` (ablation: no scan at all).
        block: ``"bsss"``, ``"conv"`` or ``"vit"`` (ablations).
        spectral_gate, attention_bridge, fusion_bridge: ``False`` removes that part (ablations).
        dropout: probability in every block, before its residual, and before the head.
        drop_path: probability that a sample goes without the branch of a block in training (stochastic depth), rising
            from near 0 in the first stage to this in the encoder's last and the decoder's first, and falling from there
            on; see :func:`~medssm_monai.networks.layers.set_drop_path`.
        deep_supervision: in training the decoder's stages at 1/4, 1/8 and 1/16 give logits of their own, which
            ``monai.losses.DeepSupervisionLoss`` compares with smaller labels (Lee et al. 2015, arXiv:1409.5185; not in
            the paper of Mamba-MIS). Evaluation and prediction take the full-size logits alone.
        init: ``"signal"``: the scans carry state and the bridge passes its levels from the first step
            (:mod:`~medssm_monai.networks.initialization`); ``"published"``: the values of PyTorch's layers, with which
            no skip connection reaches the decoder at the start. Feed centered images, (x - 0.5) / 0.25 for instance.

    Raises:
        ValueError: for values outside the lists and sizes above.

    Example:
        >>> mamba_mis_s()(torch.rand(1, 3, 64, 96)).shape
        torch.Size([1, 1, 64, 96])
    """

    training_only = ("supervision_heads",)
    """Parts without which the network predicts the same; weights may come with or without them."""

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        img_size: Sequence[int] | int = 256,
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
        deep_supervision: bool = False,
        init: str = "signal",
    ) -> None:
        super().__init__()
        if spatial_dims != 2:
            raise ValueError(f"MambaMIS is available for spatial_dims=2 only, got {spatial_dims}.")
        if len(depths) != 4 or len(decoder_depths) != 5:
            raise ValueError(f"depths needs 4 and decoder_depths 5 entries, got {depths} and {decoder_depths}.")
        if block not in BLOCKS:
            raise ValueError(f"block must be one of {BLOCKS}, got {block!r}.")
        if base_dim < 6 or base_dim % 2:
            raise ValueError(f"base_dim must be an even number of at least 6, got {base_dim}.")
        img_size = ensure_tuple_rep(img_size, 2)
        _check_size(img_size, "img_size")
        dims = [base_dim * 2**i for i in range(4)]
        scan_args: _ScanSettings = {"d_state": d_state, "scan": scan, "discretization": discretization}

        def stage(dim: int, depth: int, scale: int) -> nn.Sequential:
            if block == "conv":
                return nn.Sequential(*(ConvBlock(dim, dropout) for _ in range(depth)))
            if block == "vit":
                return nn.Sequential(*(AttentionBlock(dim, dropout) for _ in range(depth)))
            size = [s // scale for s in img_size]
            return nn.Sequential(
                *(BSSSBlock(dim, size, spectral_gate=spectral_gate, dropout=dropout, **scan_args) for _ in range(depth))
            )

        self.patch_embed = PatchEmbed(in_channels, dims[0], 4)
        self.encoder = nn.ModuleList(stage(d, n, 4 * 2**i) for i, (d, n) in enumerate(zip(dims, depths, strict=True)))
        self.merge = nn.ModuleList(PatchMerge(d) for d in dims[:-1])
        self.bridge = MultiScaleFusionBridge(dims, attention_bridge, fusion_bridge, **scan_args)
        out_dims, scales = [*reversed(dims), base_dim // 2], (32, 16, 8, 4, 1)
        self.decoder = nn.ModuleList(stage(d, n, s) for d, n, s in zip(out_dims, decoder_depths, scales, strict=True))
        self.expand = nn.ModuleList(PatchExpand(a, b, 4 if b == out_dims[-1] else 2) for a, b in pairwise(out_dims))
        self.dropout = nn.Dropout(dropout)
        supervised = out_dims[SUPERVISED] if deep_supervision else []
        self.supervision_heads = nn.ModuleList(nn.Conv2d(dim, out_channels, 1) for dim in supervised)
        self.head = nn.Conv2d(out_dims[-1], out_channels, 1)
        start(self, init)
        set_drop_path(drop_path, self.encoder)
        set_drop_path(drop_path, *reversed(self.decoder))

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Images ``(B, in_channels, H, W)`` to logits ``(B, out_channels, H, W)``; H, W multiples of 32.

        With ``deep_supervision`` and in training mode to a list of four: the logits, then those at 1/4, 1/8 and 1/16.

        Raises:
            ValueError: when ``H`` or ``W`` is no multiple of 32.
        """
        _check_size(x.shape[2:], "the input")
        if isinstance(x, MetaTensor):  # its bookkeeping would run again in each of the hundreds of operations below
            x = x.as_tensor()
        y, levels = self.patch_embed(x), []
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


def _check_size(size: Sequence[int], what: str) -> None:
    if any(int(s) % STRIDE or int(s) < STRIDE for s in size):
        raise ValueError(
            f"{what} has height and width {tuple(int(s) for s in size)}; MambaMIS needs multiples of {STRIDE}. "
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
