"""Scores over all 256 thresholds of an 8-bit map: mean Dice, mean IoU and the E-measure, as polyp papers print them."""

from __future__ import annotations

from typing import Any

import numpy as np

from medssm_monai.metrics.confusion import overlap_scores
from medssm_monai.metrics.maps import as_maps, normalise_map

__all__ = ["THRESHOLDS", "dice_over_thresholds", "e_measure", "e_measure_from_counts", "iou_over_thresholds"]
__all__ += ["threshold_counts"]

THRESHOLDS = np.arange(256) / 255.0


def threshold_counts(prob: np.ndarray, label: np.ndarray) -> np.ndarray:
    """
    Pixel counts of one image at each of the 256 thresholds `k / 255` (foreground: `prob >= threshold`).

    Args:
        prob: probabilities `(H, W)` in [0, 1].
        label: bool `(H, W)`.

    Returns:
        int64 `(256, 4)`: TP, FP, FN, TN per threshold, lowest threshold first.
    """
    # A pixel is foreground at thresholds 0..bin: two histograms, summed from the top, hold all 256 predictions.
    bins = np.searchsorted(THRESHOLDS, prob.ravel(), side="right") - 1
    truth = label.ravel()
    everything = np.bincount(bins, minlength=256)[::-1].cumsum()[::-1]
    tp = np.bincount(bins[truth], minlength=256)[::-1].cumsum()[::-1]
    fp = everything - tp
    positives = np.count_nonzero(truth)
    return np.stack([tp, fp, positives - tp, truth.size - positives - fp], axis=-1)


def _mean_over_thresholds(prob: Any, label: Any, name: str, normalise: bool) -> float:
    plane, truth = as_maps(prob, label)
    plane = normalise_map(plane, truth) if normalise else plane
    return float(overlap_scores(threshold_counts(plane, truth))[name].mean())


def dice_over_thresholds(prob: Any, label: Any, normalise: bool = True) -> float:
    """
    Dice averaged over the 256 thresholds `k / 255`: the "mean Dice" of PraNet's evaluation toolbox and of the published
    polyp tables (Fan et al., MICCAI 2020).

    Args:
        prob: foreground probability `(1, H, W)` or `(H, W)` in [0, 1].
        label: ground truth of the same size, values 0 and 1. Empty labels follow `overlap_scores`.
        normalise: stretch the map to [0, 1] first, as the toolbox does (see `normalise_map`).
    """
    return _mean_over_thresholds(prob, label, "dice", normalise)


def iou_over_thresholds(prob: Any, label: Any, normalise: bool = True) -> float:
    """Foreground IoU averaged over the 256 thresholds; arguments as in `dice_over_thresholds`."""
    return _mean_over_thresholds(prob, label, "iou", normalise)


def e_measure_from_counts(counts: np.ndarray) -> np.ndarray:
    """
    Enhanced-alignment measure (Fan et al., IJCAI 2018) of binary maps, from their pixel counts.

    For a binary map the alignment of a pixel depends only on whether it is TP, FP, FN or TN, so four values weighted
    by the counts replace the sum over the image. A label without foreground (all foreground) scores the share of
    pixels predicted as background (foreground), as in the authors' code. Departure from that code: the mean is over
    all `H * W` pixels, as the paper prints it; the code divides by `H * W - 1`, which lets a perfect map exceed 1.

    Args:
        counts: `(..., 4)` counts in the order TP, FP, FN, TN.

    Returns:
        the E-measure in [0, 1], of the leading shape.
    """
    tp, fp, fn, tn = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    total = tp + fp + fn + tn
    mean_pred, mean_label = (tp + fp) / total, (tp + fn) / total
    score = np.zeros_like(total)
    for weight, pred, label in ((tp, 1.0, 1.0), (fp, 1.0, 0.0), (fn, 0.0, 1.0), (tn, 0.0, 0.0)):
        bias_pred, bias_label = pred - mean_pred, label - mean_label
        align = 2 * bias_pred * bias_label / (bias_pred**2 + bias_label**2 + np.finfo(np.float64).eps)
        score += weight * (align + 1) ** 2 / 4
    score = np.where(mean_label == 0, fn + tn, np.where(mean_label == 1, tp + fp, score))
    return score / total


def e_measure(prob: Any, label: Any, mode: str = "mean", normalise: bool = True) -> float:
    """
    Enhanced-alignment measure of one image.

    Args:
        prob: foreground probability `(1, H, W)` or `(H, W)` in [0, 1].
        label: ground truth of the same size, values 0 and 1.
        mode: `"mean"` or `"max"` over the 256 thresholds, or `"adaptive"` at twice the mean of the map (at most 1).
            The "max" of published tables is another figure: the maximum of the curve averaged over the data set.
        normalise: stretch the map to [0, 1] first, as the toolbox does (see `normalise_map`).

    Raises:
        ValueError: when `mode` is unknown.
    """
    plane, truth = as_maps(prob, label)
    plane = normalise_map(plane, truth) if normalise else plane
    if mode == "adaptive":
        predicted = plane >= min(2 * plane.mean(), 1.0)
        tp = np.count_nonzero(predicted & truth)
        fp, fn = np.count_nonzero(predicted) - tp, np.count_nonzero(truth) - tp
        return float(e_measure_from_counts(np.array([tp, fp, fn, truth.size - tp - fp - fn])))
    if mode not in ("mean", "max"):
        raise ValueError(f'mode must be "mean", "max" or "adaptive", got {mode!r}.')
    curve = e_measure_from_counts(threshold_counts(plane, truth))
    return float(curve.mean() if mode == "mean" else curve.max())
