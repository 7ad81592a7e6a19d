"""Evaluation metrics: scores of one image, scores pooled over a data set, and their bootstrap intervals."""

from __future__ import annotations

from .bootstrap import (
    BootstrapInterval,
    bootstrap_classification,
    bootstrap_interval,
    bootstrap_pooled,
    bootstrap_weighted,
)
from .calibration import expected_calibration_error, fit_temperature, negative_log_likelihood, reliability_curve
from .class_overlap import ABSENT_CLASSES, CLASS_METRIC_SETS, class_metric_names, class_scores
from .classification import (
    CLASSIFICATION_METRICS,
    PER_CLASS_METRICS,
    ClassificationMetric,
    classification_metrics,
    confusion_matrix,
    per_class_metrics,
)
from .conformal import SET_METHODS, PredictionSets, set_figures
from .conformal_fit import fit_prediction_sets, fit_risk_thresholds
from .conformal_risk import RISK_THRESHOLDS, RiskThresholds, missed_share, missed_shares
from .fusion import FUSION_METRICS, FusionMetric, fusion_metric_names, fusion_metrics
from .fusion_fsim import fsim
from .fusion_similarity import qabf, ssim, vif
from .fusion_statistics import (
    entropy,
    mutual_information,
    normalized_mutual_information,
    psnr,
    scd_mean,
    scd_sum,
    spatial_frequency,
    standard_deviation,
)
from .lesions import lesion_scores
from .overlap import OVERLAP_METRICS, confusion_counts, hausdorff_distance_95, overlap_scores
from .paired import paired_classification
from .polyp import dice_over_thresholds, e_measure, iou_over_thresholds, s_measure, weighted_f_measure
from .segmentation import METRIC_SETS, mean_absolute_error, metric_names, segmentation_metrics
from .surfaces import surface_scores

__all__ = [
    "ABSENT_CLASSES",
    "CLASSIFICATION_METRICS",
    "CLASS_METRIC_SETS",
    "FUSION_METRICS",
    "METRIC_SETS",
    "OVERLAP_METRICS",
    "PER_CLASS_METRICS",
    "RISK_THRESHOLDS",
    "SET_METHODS",
    "BootstrapInterval",
    "ClassificationMetric",
    "FusionMetric",
    "PredictionSets",
    "RiskThresholds",
    "bootstrap_classification",
    "bootstrap_interval",
    "bootstrap_pooled",
    "bootstrap_weighted",
    "class_metric_names",
    "class_scores",
    "classification_metrics",
    "confusion_counts",
    "confusion_matrix",
    "dice_over_thresholds",
    "e_measure",
    "entropy",
    "expected_calibration_error",
    "fit_prediction_sets",
    "fit_risk_thresholds",
    "fit_temperature",
    "fsim",
    "fusion_metric_names",
    "fusion_metrics",
    "hausdorff_distance_95",
    "iou_over_thresholds",
    "lesion_scores",
    "mean_absolute_error",
    "metric_names",
    "missed_share",
    "missed_shares",
    "mutual_information",
    "negative_log_likelihood",
    "normalized_mutual_information",
    "overlap_scores",
    "paired_classification",
    "per_class_metrics",
    "psnr",
    "qabf",
    "reliability_curve",
    "s_measure",
    "scd_mean",
    "scd_sum",
    "segmentation_metrics",
    "set_figures",
    "spatial_frequency",
    "ssim",
    "standard_deviation",
    "surface_scores",
    "vif",
    "weighted_f_measure",
]
