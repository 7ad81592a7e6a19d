"""Blocks that the networks are built from; maps are channel-last, ``(B, *spatial, C)``, except where stated."""

from __future__ import annotations

from .bfss import BFSS
from .bsss import AttentionBlock, BSSSBlock, ConvBlock
from .fusion_bridge import MultiScaleFusion, MultiScaleFusionBridge, ScanAttention
from .mamba_mixer import MambaMixer
from .patch import PatchEmbed, PatchExpand, PatchMerge
from .selective_core import DirectionalS6, SelectiveCore, merge_directions
from .spectral_gate import SpectralGate

__all__ = [
    "BFSS",
    "AttentionBlock",
    "BSSSBlock",
    "ConvBlock",
    "DirectionalS6",
    "MambaMixer",
    "MultiScaleFusion",
    "MultiScaleFusionBridge",
    "PatchEmbed",
    "PatchExpand",
    "PatchMerge",
    "ScanAttention",
    "SelectiveCore",
    "SpectralGate",
    "merge_directions",
]
