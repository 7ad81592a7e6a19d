"""MedConvMamba: classification of images and volumes with blocks of a convolution and a Mamba mixer.

Source: Qu, Liu, Zou, Li, Dong, Cui, "MedConvMamba: Enhancing Medical Image Classification by Integrating Convolutional
Neural Networks with Mamba for Local Feature Extraction and Global Context Awareness".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.utils import ensure_tuple_rep

from ..blocks import ConvStem, MapFusion, PatchEmbed, SConvsSSM
from ..initialization import start
from ..layers import ScanOrder, set_drop_path

__all__ = ["MedConvMamba", "medconvmamba_s", "medconvmamba_t"]

STEMS = {"patch": PatchEmbed, "conv": ConvStem}


class MedConvMamba(nn.Module):
    """Stem → LayerNorm → ``depth`` SConvs-SSM blocks → fusion of the tokens → linear layer to logits.

    Args:
        spatial_dims: 2 (images) or 3 (volumes: the same blocks with 3D convolutions and a 3D scan order).
        in_channels: channels of the image.
        num_classes: number of logits.
        img_size: spatial size; binding for every fusion but ``"gap"``.
        patch_size: edge of a patch in pixels; the paper compares 8, 14 and 16.
        embed_dim: channels ``C``: 192 (T) or 384 (S).
        depth: number of blocks; the paper compares 3, 7 and 14.
        fusion: ``"gap"`` (any image size), ``"flatten"``, ``"conv"`` or ``"dwconv"``.
        dropout: probability in every block, before its residual sum, and before the last layer.
        orders: a named set of scan orders or the orders themselves. With one order each ``blocks.<i>.mixer`` has the
            parameter names and shapes of ``mamba_ssm.Mamba``.
        d_state: state size ``N`` of the scans.
        discretization: ``"euler"`` (the published Mamba kernels) or ``"zoh"`` (the paper's formula).
        scan: ``"selective"``, or ``"identity"`` to measure what the scan earns (see
            :class:`~medssm_monai.networks.blocks.GatedConvMixer`).
        drop_path: probability that a sample goes without the branch of a block in training (stochastic depth),
            rising block by block from near 0 to this; see :func:`~medssm_monai.networks.layers.set_drop_path`.
        init: ``"signal"``: the convolutions pass their input on and the scans carry state from the first step
            (:mod:`~medssm_monai.networks.initialization`); ``"published"``: the values of PyTorch's layers, with which
            seven blocks shrink the maps to a sixteenth.
        stem: ``"patch"``, the paper's patch embedding, or ``"conv"``, convolutions that overlap
            (:class:`~medssm_monai.networks.blocks.ConvStem`), for which ``patch_size`` is a power of 2.

    Raises:
        ValueError: for values outside the lists above.

    Decisions: the paper prints the zero-order hold, but builds on Mamba, whose kernels compute Euler's rule, and that
    is the default. Images whose size is no multiple of ``patch_size`` are padded with zeros at the bottom and right, so
    that no pixel is lost. See :class:`~medssm_monai.networks.blocks.SConvsSSM` and
    :class:`~medssm_monai.networks.blocks.MapFusion` for the others.

    Example:
        >>> medconvmamba_t(num_classes=4, depth=1)(torch.rand(2, 3, 64, 48)).shape
        torch.Size([2, 4])
    """

    output_layers = ("head",)
    """Layers with a row for each class."""

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        num_classes: int = 2,
        img_size: Sequence[int] | int = 224,
        patch_size: int = 8,
        embed_dim: int = 192,
        depth: int = 7,
        fusion: str = "gap",
        dropout: float = 0.0,
        orders: str | Sequence[ScanOrder] = "forward",
        d_state: int = 16,
        discretization: str = "euler",
        scan: str = "selective",
        drop_path: float = 0.0,
        init: str = "signal",
        stem: str = "patch",
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}.")
        if num_classes < 1 or depth < 1 or patch_size < 1:
            raise ValueError(
                f"num_classes, depth and patch_size must be at least 1, got {num_classes}, {depth}, {patch_size}."
            )
        if stem not in STEMS:
            raise ValueError(f"stem must be one of {tuple(STEMS)}, got {stem!r}.")
        self.in_channels, self.patch_size = in_channels, patch_size
        self.img_size: tuple[int, ...] = ensure_tuple_rep(img_size, spatial_dims)
        map_size = [-(-size // patch_size) for size in self.img_size]
        mixer_args: dict[str, Any] = {"orders": orders, "d_state": d_state, "discretization": discretization}
        self.patch_embed = STEMS[stem](in_channels, embed_dim, patch_size, spatial_dims)
        self.blocks = nn.Sequential(
            *(SConvsSSM(embed_dim, scan, spatial_dims, dropout, **mixer_args) for _ in range(depth))
        )
        self.fusion = MapFusion(embed_dim, map_size, fusion)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.fusion.out_features, num_classes)
        start(self, init)
        set_drop_path(drop_path, self.blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(B, in_channels, *spatial)`` to logits ``(B, num_classes)``.

        Raises:
            ValueError: when the image has other axes or channels than the network, or, for a fusion other than
                ``"gap"``, another size than ``img_size``.
        """
        self._check(x.shape)
        if isinstance(x, MetaTensor):  # its bookkeeping would run again in each of the operations below
            x = x.as_tensor()
        padding = [end for size in reversed(x.shape[2:]) for end in (0, -size % self.patch_size)]  # last axis first
        maps = self.patch_embed(F.pad(x, padding))  # (B, *spatial/patch, C)
        return self.head(self.dropout(self.fusion(self.blocks(maps))))

    def _check(self, shape: Sequence[int]) -> None:
        if len(shape) != len(self.img_size) + 2 or shape[1] != self.in_channels:
            axes = ", ".join("HW" if len(self.img_size) == 2 else "XYZ")
            raise ValueError(f"expected images (B, {self.in_channels}, {axes}), got shape {tuple(shape)}.")
        if self.fusion.fusion != "gap" and tuple(shape[2:]) != self.img_size:
            raise ValueError(
                f"fusion={self.fusion.fusion!r} was built for img_size={self.img_size}, "
                f"got images of {tuple(shape[2:])}. "
                "Resize the images, build the network with their size, or use fusion='gap'."
            )


def medconvmamba_t(**overrides: Any) -> MedConvMamba:
    """MedConvMamba-T: 4,125,316 parameters with 4 classes. ``overrides`` go to :class:`MedConvMamba`."""
    return MedConvMamba(**{"embed_dim": 192, "depth": 7, **overrides})


def medconvmamba_s(**overrides: Any) -> MedConvMamba:
    """MedConvMamba-S: 16,121,092 parameters with 4 classes. ``overrides`` go to :class:`MedConvMamba`."""
    return MedConvMamba(**{"embed_dim": 384, "depth": 7, **overrides})
