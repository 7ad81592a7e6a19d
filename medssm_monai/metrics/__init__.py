"""Evaluation metrics: scores of one image, scores pooled over a data set, and their bootstrap intervals."""

from __future__ import annotations

from medssm_monai.metrics.bootstrap import (
    BootstrapInterval,
    bootstrap_interval,
    bootstrap_pooled,
    bootstrap_weighted,
)
from medssm_monai.metrics.calibration import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability_curve,
)
from medssm_monai.metrics.classification import (
    CLASSIFICATION_METRICS,
    PER_CLASS_METRICS,
    classification_metrics,
    confusion_matrix,
    per_class_metrics,
)
from medssm_monai.metrics.confusion import OVERLAP_METRICS, confusion_counts, overlap_scores
from medssm_monai.metrics.cumulative import ClassificationMetric
from medssm_monai.metrics.fusion import FUSION_METRICS, fusion_metric_names, fusion_metrics
from medssm_monai.metrics.fusion_fsim import fsim
from medssm_monai.metrics.fusion_score import FusionMetric
from medssm_monai.metrics.fusion_similarity import qabf, ssim, vif
from medssm_monai.metrics.fusion_statistics import (
    entropy,
    mutual_information,
    normalised_mutual_information,
    psnr,
    scd_mean,
    scd_sum,
    spatial_frequency,
    standard_deviation,
)
from medssm_monai.metrics.hausdorff import hausdorff_distance_95
from medssm_monai.metrics.resampled import bootstrap_classification
from medssm_monai.metrics.s_measure import s_measure
from medssm_monai.metrics.segmentation import METRIC_SETS, mean_absolute_error, metric_names, segmentation_metrics
from medssm_monai.metrics.thresholds import dice_over_thresholds, e_measure, iou_over_thresholds
from medssm_monai.metrics.weighted_f_measure import weighted_f_measure

__all__ = [
    "CLASSIFICATION_METRICS",
    "FUSION_METRICS",
    "METRIC_SETS",
    "OVERLAP_METRICS",
    "PER_CLASS_METRICS",
    "BootstrapInterval",
    "ClassificationMetric",
    "FusionMetric",
    "bootstrap_classification",
    "bootstrap_interval",
    "bootstrap_pooled",
    "bootstrap_weighted",
    "classification_metrics",
    "confusion_counts",
    "confusion_matrix",
    "dice_over_thresholds",
    "e_measure",
    "entropy",
    "expected_calibration_error",
    "fit_temperature",
    "fsim",
    "fusion_metric_names",
    "fusion_metrics",
    "hausdorff_distance_95",
    "iou_over_thresholds",
    "mean_absolute_error",
    "metric_names",
    "mutual_information",
    "negative_log_likelihood",
    "normalised_mutual_information",
    "overlap_scores",
    "per_class_metrics",
    "psnr",
    "qabf",
    "reliability_curve",
    "s_measure",
    "scd_mean",
    "scd_sum",
    "segmentation_metrics",
    "spatial_frequency",
    "ssim",
    "standard_deviation",
    "vif",
    "weighted_f_measure",
]
