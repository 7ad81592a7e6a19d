"""Losses, and what goes with them, that MONAI and PyTorch do not have."""

from __future__ import annotations

from .class_weights import class_weight_tensor
from .distillation import DistillationLoss
from .fusion import FusionLoss
from .global_batch import GlobalBatchLoss
from .segmentation import SegmentationLoss

__all__ = ["DistillationLoss", "FusionLoss", "GlobalBatchLoss", "SegmentationLoss", "class_weight_tensor"]
