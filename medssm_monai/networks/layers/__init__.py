"""Layers: scan orders, per-direction parameters, norms. Maps are ``(B, *spatial, C)``, tokens ``(B, L, G, C)``."""

from __future__ import annotations

from .branch_dropout import BranchDropout, set_drop_path
from .channel_norm import ChannelLayerNorm
from .depthwise_conv import DEPTHWISE_CONV, DepthwiseConv2d, DepthwiseConv3d, convolve_depthwise
from .instance_norm import instance_normalized
from .real_dft import irdftn, rdftn
from .scan_order import (
    SCAN_SETS,
    ScanOrder,
    resolve_scan_orders,
    scan_table,
    to_maps,
    to_token_groups,
    visiting_table,
)
from .stacked import StackedConv1d, StackedLinear
from .synchronized_norm import SynchronizedBatchNorm, synchronized_norms

__all__ = [
    "DEPTHWISE_CONV",
    "SCAN_SETS",
    "BranchDropout",
    "ChannelLayerNorm",
    "DepthwiseConv2d",
    "DepthwiseConv3d",
    "ScanOrder",
    "StackedConv1d",
    "StackedLinear",
    "SynchronizedBatchNorm",
    "convolve_depthwise",
    "instance_normalized",
    "irdftn",
    "rdftn",
    "resolve_scan_orders",
    "scan_table",
    "set_drop_path",
    "synchronized_norms",
    "to_maps",
    "to_token_groups",
    "visiting_table",
]
