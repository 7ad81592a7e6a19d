"""Ignite handlers of the bundles: tracking, reports, history, training state, and guards of the training step."""

from __future__ import annotations

from medssm_monai.handlers.gradient_clip import GradientClip
from medssm_monai.handlers.history import TrainingHistory, read_history
from medssm_monai.handlers.mlflow import MLflowTracker, new_run_name
from medssm_monai.handlers.nan_guard import NaNGuard, NonFiniteLossError
from medssm_monai.handlers.segmentation_report import SegmentationReport
from medssm_monai.handlers.shared import SharedHandler
from medssm_monai.handlers.training_state import TrainingState

__all__ = [
    "GradientClip",
    "MLflowTracker",
    "NaNGuard",
    "NonFiniteLossError",
    "SegmentationReport",
    "SharedHandler",
    "TrainingHistory",
    "TrainingState",
    "new_run_name",
    "read_history",
]
