"""Ignite handlers of the bundles: tracking, reports, history, training state, and guards of the training step."""

from __future__ import annotations

from .best_model import BestModel
from .checkpoints import CheckpointError, run_name_for
from .classification_report import ClassificationReport
from .closing import close_calibration, close_evaluation, close_inference, close_training
from .conformal_fit import PredictionSetFit, RiskFit
from .distillation import Distillation
from .early_stop import EarlyStop
from .epoch_seed import EpochSeed
from .explanation_report import ExplanationReport
from .failed_items import FailedItems, NothingDoneError
from .fusion_report import FusionReport
from .gradient_clip import GradientClip
from .history import TrainingHistory, read_history
from .image_explanations import ImageExplanations
from .mlflow import MLflowTracker, new_run_name
from .mlflow_store import resolve_tracking_uri
from .nan_guard import NaNGuard, NonFiniteLossError
from .predictions_csv import PredictionsCSV
from .progress import Progress
from .provenance import Provenance
from .segmentation_report import SegmentationReport
from .segmentation_table import SegmentationTable
from .shared import SharedHandler
from .temperature_fit import TemperatureFit
from .training_domain import TrainingDomain
from .training_state import TrainingState
from .unlike_training import UnlikeTraining
from .validation_loss import ValidationLoss
from .weight_average import WeightAverage

__all__ = [
    "BestModel",
    "CheckpointError",
    "ClassificationReport",
    "Distillation",
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
    "PredictionSetFit",
    "PredictionsCSV",
    "Progress",
    "Provenance",
    "RiskFit",
    "SegmentationReport",
    "SegmentationTable",
    "SharedHandler",
    "TemperatureFit",
    "TrainingDomain",
    "TrainingHistory",
    "TrainingState",
    "UnlikeTraining",
    "ValidationLoss",
    "WeightAverage",
    "close_calibration",
    "close_evaluation",
    "close_inference",
    "close_training",
    "new_run_name",
    "read_history",
    "resolve_tracking_uri",
    "run_name_for",
]
