"""MedSpectralNet: classification with a ResNet trunk, SpectralFlow and ContextGate.

Source: Afrin et al., "MedSpectralNet: A lightweight convolutional neural network architecture for multi-modal image
classification", PLoS One 21(4) e0346128 (2026).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn
from monai.data import MetaTensor
from monai.networks.layers import Norm, Pool

from ...ops.tracing import is_exporting
from ..blocks import ContextGate, ResNetTrunk, SpectralFlow

__all__ = ["MedSpectralNet", "medspectralnet", "medspectralnet_full"]

STRIDE = 32


class MedSpectralNet(nn.Module):
    """Trunk → ``f_b + SpectralFlow₁(f_b) + ContextGate(f_b)`` → SpectralFlow₂ → BatchNorm → average → linear layer.

    The paper contradicts itself on the size: its abstract says 8.5 M parameters, but a whole ResNet-18 trunk alone has
    11,176,512, and its 2.0 GFLOPs fit the whole trunk. Decision: ``layers`` is an argument; the preset
    :func:`medspectralnet` leaves out the last block (8,651,019 parameters, 1.66 GMAC at 224² and 11 classes),
    :func:`medspectralnet_full` keeps it (13,371,659 parameters, 1.89 GMAC).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        num_classes: number of logits; softmax belongs to the post-processing.
        layers: basic blocks in the four stages of the trunk.
        dropout: probability before the linear layer.
        kernel_size, groups, overlap: of every SpectralFlow.
        spectral_flow1, context_gate, spectral_flow2: ``False`` removes that part (ablations).
        pretrained_path: local file with the names of torchvision's ``resnet18``; see
            :meth:`~medssm_monai.networks.blocks.ResNetTrunk.load_pretrained`. Nothing is ever downloaded.

    Raises:
        ValueError: for values outside these ranges; a file of weights that does not fit.
        FileNotFoundError: no file at ``pretrained_path``.

    Names of layers for Grad-CAM: ``context_gate`` and ``spectral_flow2`` (the paper's), ``trunk.layer4``.

    Example:
        >>> medspectralnet(num_classes=11)(torch.rand(2, 3, 96, 128)).shape
        torch.Size([2, 11])
    """

    output_layers = ("head",)
    """Layers with a row for each class."""

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        num_classes: int = 2,
        layers: Sequence[int] = (2, 2, 2, 1),
        dropout: float = 0.0,
        kernel_size: int = 3,
        groups: int = 8,
        overlap: bool = False,
        spectral_flow1: bool = True,
        context_gate: bool = True,
        spectral_flow2: bool = True,
        pretrained_path: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}.")
        if num_classes < 1 or in_channels < 1:
            raise ValueError(f"num_classes and in_channels must be at least 1, got {num_classes} and {in_channels}.")
        self.spatial_dims, self.in_channels = spatial_dims, in_channels
        self.smallest_size = STRIDE * kernel_size
        self.trunk = ResNetTrunk(spatial_dims, in_channels, layers)
        args = (spatial_dims, ResNetTrunk.out_channels, kernel_size, groups, overlap)
        self.spectral_flow1 = SpectralFlow(*args) if spectral_flow1 else None
        self.context_gate = ContextGate(*args) if context_gate else None
        self.spectral_flow2 = SpectralFlow(*args) if spectral_flow2 else nn.Identity()
        self.norm = Norm[Norm.BATCH, spatial_dims](ResNetTrunk.out_channels)
        self.pool = Pool[Pool.ADAPTIVEAVG, spatial_dims](1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(ResNetTrunk.out_channels, num_classes)
        if pretrained_path is not None:
            self.trunk.load_pretrained(pretrained_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(B, in_channels, *spatial)`` to logits ``(B, num_classes)``.

        Below ``32 * kernel_size`` pixels (96) the last map is no larger than one patch and the two modules idle: a
        warning says so.

        Raises:
            ValueError: when the image has other axes or channels than the network, or when a batch of one sample is
                given in training mode.
        """
        self._check(x.shape)
        if isinstance(x, MetaTensor):  # its bookkeeping would run again in each of the operations below
            x = x.as_tensor()
        base = self.trunk(x)  # (B, 512, *spatial/32)
        features = base
        if self.spectral_flow1 is not None:
            features = features + self.spectral_flow1(base)
        if self.context_gate is not None:
            features = features + self.context_gate(base)
        features = self.norm(self.spectral_flow2(features))
        return self.head(self.dropout(self.pool(features).flatten(1)))

    def _check(self, shape: Sequence[int]) -> None:
        if is_exporting():  # an exporter would take the sizes below for constants
            return
        if len(shape) != self.spatial_dims + 2 or shape[1] != self.in_channels:
            axes = "H, W" if self.spatial_dims == 2 else "X, Y, Z"
            raise ValueError(f"expected images (B, {self.in_channels}, {axes}), got shape {tuple(shape)}.")
        if min(shape[2:]) < self.smallest_size:
            warnings.warn(
                f"images of {tuple(shape[2:])} pixels: below {self.smallest_size} the last map is no larger than one "
                "patch, SpectralFlow and ContextGate idle. Resize the images.",
                stacklevel=3,
            )


def medspectralnet(**overrides: Any) -> MedSpectralNet:
    """MedSpectralNet: 8,651,019 parameters with 11 classes. ``overrides`` go to :class:`MedSpectralNet`."""
    return MedSpectralNet(**{"layers": (2, 2, 2, 1), **overrides})


def medspectralnet_full(**overrides: Any) -> MedSpectralNet:
    """MedSpectralNet, whole ResNet-18: 13,371,659 parameters with 11 classes. ``overrides`` as before."""
    return MedSpectralNet(**{"layers": (2, 2, 2, 2), **overrides})
