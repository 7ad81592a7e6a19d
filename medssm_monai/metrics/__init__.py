"""Evaluation metrics: scores of one image, scores pooled over a data set, and their bootstrap intervals."""

from __future__ import annotations

from medssm_monai.metrics.bootstrap import BootstrapInterval, bootstrap_interval, bootstrap_pooled
from medssm_monai.metrics.confusion import OVERLAP_METRICS, confusion_counts, overlap_scores
from medssm_monai.metrics.hausdorff import hausdorff_distance_95
from medssm_monai.metrics.s_measure import s_measure
from medssm_monai.metrics.segmentation import METRIC_SETS, mean_absolute_error, metric_names, segmentation_metrics
from medssm_monai.metrics.thresholds import dice_over_thresholds, e_measure, iou_over_thresholds
from medssm_monai.metrics.weighted_f_measure import weighted_f_measure

__all__ = [
    "METRIC_SETS",
    "OVERLAP_METRICS",
    "BootstrapInterval",
    "bootstrap_interval",
    "bootstrap_pooled",
    "confusion_counts",
    "dice_over_thresholds",
    "e_measure",
    "hausdorff_distance_95",
    "iou_over_thresholds",
    "mean_absolute_error",
    "metric_names",
    "overlap_scores",
    "s_measure",
    "segmentation_metrics",
    "weighted_f_measure",
]
