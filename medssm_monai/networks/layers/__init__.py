"""Layers: scan orders, per-direction parameters, norms. Maps are ``(B, *spatial, C)``, tokens ``(B, L, G, C)``."""

from __future__ import annotations

from .branch_dropout import BranchDropout, set_drop_path
from .channel_norm import ChannelLayerNorm
from .depthwise_conv import DepthwiseConv2d, depthwise_conv2d
from .real_dft import irdft2, rdft2
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

__all__ = [
    "SCAN_SETS",
    "BranchDropout",
    "ChannelLayerNorm",
    "DepthwiseConv2d",
    "ScanOrder",
    "StackedConv1d",
    "StackedLinear",
    "depthwise_conv2d",
    "irdft2",
    "rdft2",
    "resolve_scan_orders",
    "scan_table",
    "set_drop_path",
    "to_maps",
    "to_token_groups",
    "visiting_table",
]
