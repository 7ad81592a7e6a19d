"""Pixel counts (TP, FP, FN, TN) of binary segmentation and the scores that follow from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from medssm_monai.metrics.maps import as_maps

__all__ = ["OVERLAP_METRICS", "confusion_counts", "overlap_scores"]

OVERLAP_METRICS = ("dice", "iou", "iou_mean", "sensitivity", "specificity", "accuracy")


def confusion_counts(prob: Any, label: Any, threshold: float = 0.5) -> np.ndarray:
    """
    Count true positives, false positives, false negatives and true negatives of one image.

    Args:
        prob: foreground probability `(1, H, W)` or `(H, W)` in [0, 1].
        label: ground truth of the same size, values 0 and 1.
        threshold: a pixel is foreground when `prob >= threshold`.

    Returns:
        int64 array `[tp, fp, fn, tn]`. Sum such arrays over images for pooled scores.
    """
    plane, truth = as_maps(prob, label)
    predicted = plane >= threshold
    tp = np.count_nonzero(predicted & truth)
    fp = np.count_nonzero(predicted) - tp
    fn = np.count_nonzero(truth) - tp
    return np.array([tp, fp, fn, truth.size - tp - fp - fn], dtype=np.int64)


def _ratio(numerator: np.ndarray, denominator: np.ndarray, empty: float) -> np.ndarray:
    """`numerator / denominator`, and `empty` where the denominator is zero."""
    result = np.full(np.shape(numerator), empty, dtype=np.float64)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def overlap_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """
    Dice, IoU, sensitivity, specificity and accuracy from pixel counts.

    `dice = 2 TP / (2 TP + FP + FN)`, `iou = TP / (TP + FP + FN)`, `iou_mean` = mean of the foreground IoU and of the
    background IoU `TN / (TN + FP + FN)`, `sensitivity = TP / (TP + FN)`, `specificity = TN / (TN + FP)`,
    `accuracy = (TP + TN) / all`.

    Conventions for empty masks: label and prediction both empty give Dice and IoU 1 (the network was right), only one
    of them empty gives 0. Sensitivity is NaN when the label is empty and specificity is NaN when the label covers the
    whole image: there is nothing to find; summaries leave NaN out and state how many images counted.

    Args:
        counts: `(..., 4)` counts in the order TP, FP, FN, TN; any leading axes, or none.

    Returns:
        one array of the leading shape per name in `OVERLAP_METRICS`.

    Raises:
        ValueError: when the last axis is not four long.
    """
    counts = np.asarray(counts)
    if counts.shape[-1:] != (4,):
        raise ValueError(f"counts must end in an axis of length 4 (TP, FP, FN, TN), got shape {counts.shape}.")
    tp, fp, fn, tn = np.moveaxis(counts.astype(np.float64), -1, 0)
    iou = _ratio(tp, tp + fp + fn, empty=1.0)
    return {
        "dice": _ratio(2 * tp, 2 * tp + fp + fn, empty=1.0),
        "iou": iou,
        "iou_mean": (iou + _ratio(tn, tn + fp + fn, empty=1.0)) / 2,
        "sensitivity": _ratio(tp, tp + fn, empty=np.nan),
        "specificity": _ratio(tn, tn + fp, empty=np.nan),
        "accuracy": _ratio(tp + tn, tp + fp + fn + tn, empty=np.nan),
    }
