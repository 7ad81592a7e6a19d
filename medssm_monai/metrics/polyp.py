"""Measures of polyp papers: scores over all thresholds of a map, structure measure and weighted F-measure."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import correlate1d, distance_transform_edt

from .overlap import as_maps, normalise_map, overlap_scores

__all__ = [
    "THRESHOLDS",
    "dice_over_thresholds",
    "e_measure",
    "e_measure_from_counts",
    "iou_over_thresholds",
    "s_measure",
    "weighted_f_measure",
]

__all__ += ["threshold_counts"]
THRESHOLDS = np.arange(256) / 255.0


def threshold_counts(prob: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Pixel counts of one image at each of the 256 thresholds ``k / 255`` (foreground: ``prob >= threshold``).

    Args:
        prob: probabilities ``(H, W)`` in [0, 1].
        label: bool ``(H, W)``.

    Returns:
        int64 ``(256, 4)``: TP, FP, FN, TN per threshold, lowest threshold first.
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
    """Dice averaged over the 256 thresholds ``k / 255``: the "mean Dice" of PraNet's evaluation toolbox and of the
    published polyp tables (Fan et al., MICCAI 2020).

    Args:
        prob: foreground probability ``(1, H, W)`` or ``(H, W)`` in [0, 1].
        label: ground truth of the same size, values 0 and 1. Empty labels follow ``overlap_scores``.
        normalise: stretch the map to [0, 1] first, as the toolbox does (see ``normalise_map``).
    """
    return _mean_over_thresholds(prob, label, "dice", normalise)


def iou_over_thresholds(prob: Any, label: Any, normalise: bool = True) -> float:
    """Foreground IoU averaged over the 256 thresholds; arguments as in ``dice_over_thresholds``."""
    return _mean_over_thresholds(prob, label, "iou", normalise)


def e_measure_from_counts(counts: np.ndarray) -> np.ndarray:
    """Enhanced-alignment measure (Fan et al., IJCAI 2018) of binary maps, from their pixel counts.

    For a binary map the alignment of a pixel depends only on whether it is TP, FP, FN or TN, so four values weighted
    by the counts replace the sum over the image. A label without foreground (all foreground) scores the share of
    pixels predicted as background (foreground), as in the authors' code. Departure from that code: the mean is over
    all ``H * W`` pixels, as the paper prints it; the code divides by ``H * W - 1``, which lets a perfect map exceed 1.

    Args:
        counts: ``(..., 4)`` counts in the order TP, FP, FN, TN.

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
    """Enhanced-alignment measure of one image.

    Args:
        prob: foreground probability ``(1, H, W)`` or ``(H, W)`` in [0, 1].
        label: ground truth of the same size, values 0 and 1.
        mode: ``"mean"`` or ``"max"`` over the 256 thresholds, or ``"adaptive"`` at twice the mean of the map (at most
            1). The "max" of published tables is another figure: the maximum of the curve averaged over the data set.
        normalise: stretch the map to [0, 1] first, as the toolbox does (see ``normalise_map``).

    Raises:
        ValueError: when ``mode`` is unknown.
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


_EPS = np.finfo(np.float64).eps


def _object_score(values: np.ndarray) -> float:
    """Object term with lambda = 0.5: similarity of one region's values to a uniform 1. Empty region: 0."""
    if values.size == 0:
        return 0.0
    mean = values.mean()
    spread = values.std(ddof=1) if values.size > 1 else 0.0
    return float(2 * mean / (mean**2 + 1 + spread + _EPS))


def _object_similarity(prob: np.ndarray, label: np.ndarray) -> float:
    """S_object: foreground and background scores weighted by their share of the label."""
    share = label.mean()
    return share * _object_score(prob[label]) + (1 - share) * _object_score(1 - prob[~label])


def _ssim(prob: np.ndarray, label: np.ndarray) -> float:
    """SSIM of two blocks from their means, variances and covariance (sample statistics, no constants)."""
    x, y = prob.mean(), label.mean()
    dof = prob.size - 1 + _EPS
    var_x, var_y = np.square(prob - x).sum() / dof, np.square(label - y).sum() / dof
    covariance = ((prob - x) * (label - y)).sum() / dof
    above, below = 4 * x * y * covariance, (x**2 + y**2) * (var_x + var_y)
    if above != 0:
        return float(above / (below + _EPS))
    return 1.0 if below == 0 else 0.0


def _region_similarity(prob: np.ndarray, label: np.ndarray) -> float:
    """S_region: SSIM of the four blocks around the label's centroid, weighted by area. Empty blocks weigh nothing."""
    height, width = label.shape
    rows, columns = np.nonzero(label)
    # The centroid's row and column belong to the upper left block; halves round up.
    y, x = int(np.floor(rows.mean() + 0.5)) + 1, int(np.floor(columns.mean() + 0.5)) + 1
    truth = label.astype(np.float64)
    score = 0.0
    for block in np.s_[:y, :x], np.s_[:y, x:], np.s_[y:, :x], np.s_[y:, x:]:
        if truth[block].size:
            score += truth[block].size / (height * width) * _ssim(prob[block], truth[block])
    return score


def s_measure(prob: Any, label: Any, alpha: float = 0.5, normalise: bool = True) -> float:
    """``S = alpha * S_object + (1 - alpha) * S_region``, not below 0.

    As in the paper, an empty label scores one minus the map's mean, and a label that covers the image the map's mean.

    Args:
        prob: foreground probability ``(1, H, W)`` or ``(H, W)`` in [0, 1].
        label: ground truth of the same size, values 0 and 1.
        alpha: weight of the object term, 0.5 in the paper.
        normalise: stretch the map to [0, 1] first, as PraNet's toolbox does (see ``normalise_map``).
    """
    plane, truth = as_maps(prob, label)
    plane = normalise_map(plane, truth) if normalise else plane
    if not truth.any():
        return float(1 - plane.mean())
    if truth.all():
        return float(plane.mean())
    score = alpha * _object_similarity(plane, truth) + (1 - alpha) * _region_similarity(plane, truth)
    return float(max(score, 0.0))


_SIGMA = 5.0
_GAUSSIAN = np.exp(-np.square(np.arange(-3, 4)) / (2 * _SIGMA**2))
_GAUSSIAN /= _GAUSSIAN.sum()


def weighted_f_measure(
    prob: Any, label: Any, beta2: float = 1.0, threshold: float = 0.5, normalise: bool = True
) -> float:
    """``F = (1 + beta2) * P * R / (beta2 * P + R)`` from weighted precision and recall.

    Errors within the foreground are smoothed over a 7x7 Gaussian (sigma 5, zero outside the image), the error of the
    nearest foreground pixel standing in for background pixels; errors in the background weigh
    ``2 - exp(log(0.5) / 5 * distance to the foreground)``. Where two foreground pixels are equally near, the choice is
    SciPy's; MATLAB's may differ in the fourth digit.

    Decision for an empty label, for which recall is undefined: 1 when no pixel reaches ``threshold``, else 0.

    Args:
        prob: foreground probability ``(1, H, W)`` or ``(H, W)`` in [0, 1].
        label: ground truth of the same size, values 0 and 1.
        beta2: weight of recall, 1 as in the authors' code.
        threshold: only used for empty labels.
        normalise: stretch the map to [0, 1] first, as PraNet's toolbox does (see ``normalise_map``).

    Returns:
        the score in [0, 1].
    """
    plane, truth = as_maps(prob, label)
    if not truth.any():
        return float(not (plane >= threshold).any())
    plane = normalise_map(plane, truth) if normalise else plane
    error = np.abs(plane - truth)
    distance, nearest = distance_transform_edt(~truth, return_indices=True)
    spread = error[nearest[0], nearest[1]]
    for axis in (0, 1):
        spread = correlate1d(spread, _GAUSSIAN, axis=axis, mode="constant")
    inside = np.minimum(error, spread)[truth]
    outside = (error * (2.0 - np.exp(np.log(0.5) / 5.0 * distance)))[~truth]
    tp, fp = truth.sum() - inside.sum(), outside.sum()
    recall = 1.0 - inside.mean()
    precision = tp / (tp + fp + np.finfo(np.float64).eps)
    return float((1 + beta2) * precision * recall / (beta2 * precision + recall + np.finfo(np.float64).eps))
