"""Ignite handlers of the bundles: tracking, reports, history, training state, and guards of the training step."""

from __future__ import annotations

from medssm_monai.handlers.best_model import BestModel
from medssm_monai.handlers.checkpoints import CheckpointError, run_name_for
from medssm_monai.handlers.classification_report import ClassificationReport
from medssm_monai.handlers.closing import close_evaluation, close_inference, close_training
from medssm_monai.handlers.early_stop import EarlyStop
from medssm_monai.handlers.epoch_seed import EpochSeed
from medssm_monai.handlers.explanation_report import ExplanationReport
from medssm_monai.handlers.failed_items import FailedItems, NothingDoneError
from medssm_monai.handlers.fusion_report import FusionReport
from medssm_monai.handlers.gradient_clip import GradientClip
from medssm_monai.handlers.history import TrainingHistory, read_history
from medssm_monai.handlers.image_explanations import ImageExplanations
from medssm_monai.handlers.mlflow import MLflowTracker, new_run_name
from medssm_monai.handlers.mlflow_store import resolve_tracking_uri
from medssm_monai.handlers.nan_guard import NaNGuard, NonFiniteLossError
from medssm_monai.handlers.predictions_csv import PredictionsCSV
from medssm_monai.handlers.segmentation_report import SegmentationReport
from medssm_monai.handlers.segmentation_table import SegmentationTable
from medssm_monai.handlers.shared import SharedHandler
from medssm_monai.handlers.temperature_fit import TemperatureFit
from medssm_monai.handlers.training_state import TrainingState
from medssm_monai.handlers.validation_loss import ValidationLoss

__all__ = [
    "BestModel",
    "CheckpointError",
    "ClassificationReport",
    "EarlyStop",
    "EpochSeed",
    "ExplanationReport",
    "FailedItems",
    "FusionReport",
    "GradientClip",
    "ImageExplanations",
    "MLflowTracker",
    "NaNGuard",
    "NonFiniteLossError",
    "NothingDoneError",
    "PredictionsCSV",
    "SegmentationReport",
    "SegmentationTable",
    "SharedHandler",
    "TemperatureFit",
    "TrainingHistory",
    "TrainingState",
    "ValidationLoss",
    "new_run_name",
    "read_history",
    "run_name_for",
    "close_evaluation",
    "close_inference",
    "close_training",
    "resolve_tracking_uri",
]
