"""Blocks that the networks are built from; maps are channel-last, ``(B, *spatial, C)``, except where stated."""

from __future__ import annotations

from .bfss import BFSS
from .bsss import AttentionBlock, BSSSBlock, ConvBlock
from .context_gate import ContextGate
from .conv_stem import ConvStem
from .cross_channel_excitation import CrossChannelExcitation
from .dilated_gated_conv import DilatedGatedConv
from .fusion_bridge import MultiScaleFusion, MultiScaleFusionBridge, ScanAttention
from .gated_conv_mixer import GatedConvMixer
from .mamba_mixer import MambaMixer
from .map_fusion import MapFusion
from .patch import PatchEmbed, PatchExpand, PatchMerge
from .residual_mamba import ChannelExchangeBlock, CrossMambaBlock, MambaBlock, exchange_channels
from .resnet_trunk import PretrainedReport, ResNetTrunk
from .sconvs_ssm import SConvsSSM
from .selective_core import DirectionalS6, IdentityS6, SelectiveCore, merge_directions
from .spectral_flow import SpectralFlow
from .spectral_gate import SpectralGate

__all__ = [
    "BFSS",
    "AttentionBlock",
    "BSSSBlock",
    "ChannelExchangeBlock",
    "ContextGate",
    "ConvBlock",
    "ConvStem",
    "CrossChannelExcitation",
    "CrossMambaBlock",
    "DilatedGatedConv",
    "DirectionalS6",
    "GatedConvMixer",
    "IdentityS6",
    "MambaBlock",
    "MambaMixer",
    "MapFusion",
    "MultiScaleFusion",
    "MultiScaleFusionBridge",
    "PatchEmbed",
    "PatchExpand",
    "PatchMerge",
    "PretrainedReport",
    "ResNetTrunk",
    "SConvsSSM",
    "ScanAttention",
    "SelectiveCore",
    "SpectralFlow",
    "SpectralGate",
    "exchange_channels",
    "merge_directions",
]
