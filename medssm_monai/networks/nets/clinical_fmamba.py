"""ClinicalFMamba: fusion of two registered images or volumes into one, with convolutions and multi-direction scans.

Source: Zhou & Khalvati, "ClinicalFMamba: Advancing Clinical Assessment using Mamba-based Multimodal Neuroimaging
Fusion" (MICCAI MLMI 2025, arXiv 2508.03008); structure from the authors' public repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypedDict

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.networks.layers import Conv, Norm

from ..blocks import ChannelExchangeBlock, CrossChannelExcitation, CrossMambaBlock, DilatedGatedConv, MambaBlock
from ..initialization import start
from ..layers import ScanOrder, set_drop_path

__all__ = ["ClinicalFMamba", "clinical_fmamba_2d", "clinical_fmamba_3d"]

CHANNELS = (32, 32, 64, 128)  # full size, 1/2, 1/4, 1/8
DILATIONS = (1, 3, 5)
STRIDE = 8
DEFAULT_ORDERS = {2: "cross", 3: "tri_plane"}
DECODER_DEPTH = {2: 3, 3: 0}
OUTPUTS = ("image", "blend")


class _PlainSettings(TypedDict):
    dropout: float
    d_state: int
    expand: int
    spatial_dims: int
    scan: str


class _SweptSettings(_PlainSettings):
    orders: str | Sequence[ScanOrder]


class ClinicalFMamba(nn.Module):
    """Two sources in, one fused image in [0, 1] out, in 2D and 3D.

    Shared encoder (stem, then three times strided convolution and dilated gated convolution) → per source ``depth``
    multi-direction Mamba blocks with own weights → ``exchange_rounds`` channel exchanges → cross blocks both ways,
    their mean, Linear → plain Mamba blocks (2D only), LayerNorm → three times upsampling → cross channel excitation by
    the stem features of both sources → convolution → sigmoid. Every Mamba block is one grouped scan, however many
    directions.

    Decisions where the paper is silent: both sources pass the encoder as one batch, so that its batch norms see the
    same mixture in training that their running statistics describe; all scans share ``d_state``; sizes that are no
    multiple of 8 are padded at the end of each axis by replication, and the result is cropped.

    Args:
        spatial_dims: 2 or 3.
        orders: scan set, by name or as orders; default ``"cross"`` (four directions) in 2D, ``"tri_plane"`` (eight) in
            3D; ``"tri_plane_full"`` has all twelve.
        depth: multi-direction Mamba blocks ``K`` for each source.
        exchange_rounds: channel exchanges.
        decoder_depth: plain Mamba blocks of the decoder; default 3 in 2D, none in 3D.
        d_state: state size ``N`` of all scans.
        expand: inner over model channels of all scans.
        dropout: probability in every block, before its residual, and before the last convolution.
        scan: ``"selective"``, or ``"identity"`` to measure what the scans earn: every Mamba block becomes a gated
            convolution along the same orders (:class:`~medssm_monai.networks.blocks.GatedConvMixer`), and the cross
            blocks, whose other source only steers the scan, see their own source alone; the sources then meet in the
            channel exchange, in the mean and in the excitation.
        output: what the last convolution and its sigmoid give. ``"image"``: the fused image itself (the paper).
            ``"blend"``: the share w of source A in each pixel, for the fused image w A + (1 - w) B; it begins near the
            average, shows no value that lies outside the two sources there, and leaves black what is black in both,
            which a sigmoid alone reaches only far below 0. Weight maps: Liu et al., Multi-focus image fusion with a
            deep convolutional neural network (2017).
        drop_path: probability that a sample goes without the branch of a block in training (stochastic depth),
            rising block by block from near 0 to this; see :func:`~medssm_monai.networks.layers.set_drop_path`.
        init: ``"signal"``: the scans carry state from the first step (:mod:`~medssm_monai.networks.initialization`);
            ``"published"``: the values of PyTorch's layers, with a state part of a hundredth of the skip.

    Raises:
        ValueError: for other ``spatial_dims``, a scan set that does not exist in that many dimensions, an
            unknown ``scan`` or ``output``, or ``depth``, ``exchange_rounds`` or ``decoder_depth`` below 0.

    Example:
        >>> ClinicalFMamba(2)(torch.rand(1, 2, 50, 37)).shape
        torch.Size([1, 1, 50, 37])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        orders: str | Sequence[ScanOrder] | None = None,
        depth: int = 5,
        exchange_rounds: int = 2,
        decoder_depth: int | None = None,
        d_state: int = 8,
        expand: int = 2,
        dropout: float = 0.0,
        scan: str = "selective",
        output: str = "image",
        drop_path: float = 0.0,
        init: str = "signal",
    ) -> None:
        super().__init__()
        if spatial_dims not in DEFAULT_ORDERS:
            raise ValueError(f"ClinicalFMamba is available for spatial_dims 2 and 3, got {spatial_dims}.")
        decoder_depth = DECODER_DEPTH[spatial_dims] if decoder_depth is None else decoder_depth
        if min(depth, exchange_rounds, decoder_depth) < 0:
            raise ValueError(
                "depth, exchange_rounds and decoder_depth must be 0 or more, "
                f"got {depth}, {exchange_rounds} and {decoder_depth}."
            )
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {OUTPUTS}, got {output!r}.")
        self.spatial_dims, self.output = spatial_dims, output
        conv = Conv[Conv.CONV, spatial_dims]
        dim, full = CHANNELS[-1], CHANNELS[0]
        plain: _PlainSettings = {
            "dropout": dropout,
            "d_state": d_state,
            "expand": expand,
            "spatial_dims": spatial_dims,
            "scan": scan,
        }
        swept: _SweptSettings = {**plain, "orders": DEFAULT_ORDERS[spatial_dims] if orders is None else orders}

        self.stem = conv(1, full, 3, padding=1)
        self.encoder = nn.Sequential(
            *(
                nn.Sequential(conv(a, b, 2, stride=2), DilatedGatedConv(spatial_dims, b, dilation, dropout))
                for a, b, dilation in zip(CHANNELS, CHANNELS[1:], DILATIONS, strict=False)
            )
        )
        self.mamba_a, self.mamba_b = (nn.Sequential(*(MambaBlock(dim, **swept) for _ in range(depth))) for _ in "ab")
        self.exchange = nn.ModuleList(ChannelExchangeBlock(dim, **plain) for _ in range(exchange_rounds))
        self.cross_a, self.cross_b = (CrossMambaBlock(dim, **swept) for _ in "ab")
        self.fuse = nn.Linear(dim, dim)
        self.refine = nn.Sequential(*(MambaBlock(dim, **plain) for _ in range(decoder_depth)), nn.LayerNorm(dim))
        widths = CHANNELS[::-1]
        self.decoder = nn.Sequential(*(_upsample(spatial_dims, a, b) for a, b in pairwise(widths)))
        self.excite = CrossChannelExcitation(spatial_dims, full)
        self.dropout = nn.Dropout(dropout)
        self.head = conv(full, 1, 3, padding=1)
        start(self, init)
        for mamba, cross in ((self.mamba_a, self.cross_a), (self.mamba_b, self.cross_b)):
            set_drop_path(drop_path, self.encoder, mamba, self.exchange, cross, self.refine)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pairs ``(B, 2, *spatial)``, source A and source B in [0, 1], to fused images ``(B, 1, *spatial)`` in [0, 1].

        Raises:
            ValueError: when the input is not ``(B, 2, *spatial)`` with ``spatial_dims`` spatial axes.
        """
        if x.ndim != self.spatial_dims + 2 or x.shape[1] != 2:
            raise ValueError(
                f"ClinicalFMamba in {self.spatial_dims}D takes two single-channel sources stacked as (B, 2, *spatial) "
                f"with {self.spatial_dims} spatial axes, got {tuple(x.shape)}. Convert color sources to their "
                "luminance first (ExtractLuminanced), and choose spatial_dims by the images."
            )
        if isinstance(x, MetaTensor):  # its bookkeeping would run again in each of the hundreds of operations below
            x = x.as_tensor()
        size = x.shape[2:]
        x = F.pad(x, [p for s in reversed(size) for p in (0, -s % STRIDE)], mode="replicate")
        first, second = x.chunk(2, dim=1)
        stem = self.stem(torch.cat((first, second)))  # (2B, 32, *spatial)
        a, b = _by_source(self.encoder(stem).movedim(1, -1))  # (B, *spatial / 8, 128) each
        y = self.decoder(self.refine(self._fuse(a, b)).movedim(-1, 1))  # (B, 32, *spatial)
        y = self.head(self.dropout(y + self.excite(*_by_source(stem)))).sigmoid()
        if self.output == "blend":
            y = torch.lerp(second, first, y.to(first.dtype))  # autocast may have left it in half precision
        return y[(..., *(slice(s) for s in size))]

    def _fuse(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Latent maps of the two sources ``(B, *spatial, 128)`` to one of the same shape."""
        a, b = self.mamba_a(a), self.mamba_b(b)
        for exchange in self.exchange:
            a, b = exchange(a, b)
        return self.fuse((self.cross_a(a, b) + self.cross_b(b, a)) / 2)


def _by_source(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """``(2B, ...)`` to ``(B, ...)`` of source A and of B; ``chunk`` would tie an export to its batch size."""
    return x.unflatten(0, (2, -1)).unbind()


def _upsample(spatial_dims: int, in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"),
        Conv[Conv.CONV, spatial_dims](in_channels, out_channels, 3, padding=1),
        Norm[Norm.BATCH, spatial_dims](out_channels),
        nn.LeakyReLU(0.2),
    )


def clinical_fmamba_2d(**overrides: Any) -> ClinicalFMamba:
    """ClinicalFMamba for pairs of 2D images: 3,378,369 parameters. ``overrides`` go to :class:`ClinicalFMamba`."""
    return ClinicalFMamba(**{"spatial_dims": 2, **overrides})


def clinical_fmamba_3d(**overrides: Any) -> ClinicalFMamba:
    """ClinicalFMamba for pairs of volumes: 4,453,025 parameters. ``overrides`` go to :class:`ClinicalFMamba`."""
    return ClinicalFMamba(**{"spatial_dims": 3, **overrides})
