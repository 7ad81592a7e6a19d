"""The roof of the package: programs that open a bundle. :func:`load` gives a bundle's predictor in Python; the folder
``label`` is an app for MONAI Label."""

from __future__ import annotations

from ..utils.bundles import BUNDLES_VARIABLE, find_bundle
from .predictions import ClassificationPrediction, FusionPrediction, SegmentationPrediction
from .predictor import Predictor, load
from .tasks import ClassificationTask, FusionTask, SegmentationTask

__all__ = [
    "BUNDLES_VARIABLE",
    "ClassificationPrediction",
    "ClassificationTask",
    "FusionPrediction",
    "FusionTask",
    "Predictor",
    "SegmentationPrediction",
    "SegmentationTask",
    "find_bundle",
    "load",
]
