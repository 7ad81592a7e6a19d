"""Overlap and boundary of one binary segmentation, and the maps that all its metrics take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance

__all__ = ["OVERLAP_METRICS", "as_maps", "confusion_counts", "hausdorff_distance_95", "normalise_map", "overlap_scores"]


def _as_plane(values: Any, name: str) -> np.ndarray:
    """One image plane ``(H, W)`` as a NumPy array, from a tensor or array ``(1, H, W)`` or ``(H, W)``."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().float().numpy()
    plane = np.asarray(values)
    if plane.ndim == 3 and plane.shape[0] == 1:
        plane = plane[0]
    if plane.ndim != 2:
        raise ValueError(
            f"{name} must have shape (1, H, W) or (H, W), got {plane.shape}; "
            "evaluate one image and one foreground channel at a time."
        )
    return plane


def as_maps(prob: Any, label: Any) -> tuple[np.ndarray, np.ndarray]:
    """Check one prediction with its label and bring both into the form that the metrics use.

    Args:
        prob: foreground probability, ``(1, H, W)`` or ``(H, W)``, values in [0, 1] (a binary mask is one, too).
        label: ground truth, same size, values 0 and 1.

    Returns:
        the probability as float64 ``(H, W)`` and the label as bool ``(H, W)``.

    Raises:
        ValueError: wrong or unequal shapes, values that are not finite, probabilities outside [0, 1] (logits), labels
            other than 0 and 1.
    """
    plane = _as_plane(prob, "prob").astype(np.float64)
    truth = _as_plane(label, "label")
    if plane.shape != truth.shape:
        raise ValueError(
            f"prob has size {plane.shape} but label {truth.shape}; bring both to the same size before the metrics."
        )
    if plane.size == 0:
        raise ValueError("prob and label are empty arrays; expected at least one pixel.")
    if not np.isfinite(plane).all():
        raise ValueError("prob holds values that are not finite; check the weights and the images.")
    low, high = float(plane.min()), float(plane.max())
    if low < 0.0 or high > 1.0:
        raise ValueError(
            f"prob must lie in [0, 1], got [{low:.4g}, {high:.4g}]; apply the sigmoid to logits before the metrics."
        )
    foreground = truth > 0.5
    if not np.array_equal(foreground, truth):
        raise ValueError(f"label must hold 0 and 1 only, got values {np.unique(truth)[:5]}; threshold the mask first.")
    return plane, foreground


def normalise_map(prob: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Stretch a map linearly to [0, 1], as the published polyp results and their evaluation toolbox do.

    Decision: a constant map stays as it is (nothing to stretch), and so does the map of an image whose label is empty:
    stretching would turn the faint noise of a correct "nothing here" into a confident wrong prediction.

    Args:
        prob: probabilities ``(H, W)``.
        label: bool ``(H, W)``.
    """
    low, high = prob.min(), prob.max()
    if high == low or not label.any():
        return prob
    return (prob - low) / (high - low)


OVERLAP_METRICS = ("dice", "iou", "iou_mean", "sensitivity", "specificity", "accuracy")


def confusion_counts(prob: Any, label: Any, threshold: float = 0.5) -> np.ndarray:
    """Count true positives, false positives, false negatives and true negatives of one image.

    Args:
        prob: foreground probability ``(1, H, W)`` or ``(H, W)`` in [0, 1].
        label: ground truth of the same size, values 0 and 1.
        threshold: a pixel is foreground when ``prob >= threshold``.

    Returns:
        int64 array ``[tp, fp, fn, tn]``. Sum such arrays over images for pooled scores.
    """
    plane, truth = as_maps(prob, label)
    predicted = plane >= threshold
    tp = np.count_nonzero(predicted & truth)
    fp = np.count_nonzero(predicted) - tp
    fn = np.count_nonzero(truth) - tp
    return np.array([tp, fp, fn, truth.size - tp - fp - fn], dtype=np.int64)


def _ratio(numerator: np.ndarray, denominator: np.ndarray, empty: float) -> np.ndarray:
    """``numerator / denominator``, and ``empty`` where the denominator is zero."""
    result = np.full(np.shape(numerator), empty, dtype=np.float64)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def overlap_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Dice, IoU, sensitivity, specificity and accuracy from pixel counts.

    ``dice = 2 TP / (2 TP + FP + FN)``, ``iou = TP / (TP + FP + FN)``, ``iou_mean`` = mean of the foreground IoU and of
    the background IoU ``TN / (TN + FP + FN)``, ``sensitivity = TP / (TP + FN)``, ``specificity = TN / (TN + FP)``,
    ``accuracy = (TP + TN) / all``.

    Conventions for empty masks: label and prediction both empty give Dice and IoU 1 (the network was right), only one
    of them empty gives 0. Sensitivity is NaN when the label is empty and specificity is NaN when the label covers the
    whole image: there is nothing to find; summaries leave NaN out and state how many images counted.

    Args:
        counts: ``(..., 4)`` counts in the order TP, FP, FN, TN; any leading axes, or none.

    Returns:
        one array of the leading shape per name in ``OVERLAP_METRICS``.

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


def hausdorff_distance_95(
    prob: Any, label: Any, threshold: float = 0.5, spacing: float | Sequence[float] | None = None
) -> float:
    """The larger of the two 95th percentiles of the distances from one outline to the other (MONAI's definition).

    Outlines are the foreground pixels that touch the background or the image border. Conventions for empty masks:
    both empty give 0; exactly one empty gives the length of the image diagonal, the largest distance there can be, so
    that a missed lesion weighs in the mean and does not vanish as NaN or infinity.

    Args:
        prob: foreground probability ``(1, H, W)`` or ``(H, W)`` in [0, 1].
        label: ground truth of the same size, values 0 and 1.
        threshold: a pixel is foreground when ``prob >= threshold``.
        spacing: pixel size in millimetres, one number or (row, column). ``None``: the distance is in pixels.

    Returns:
        the distance in pixels, or in millimetres when ``spacing`` is given.

    Raises:
        ValueError: when ``spacing`` is not positive or has a length other than one or two.
    """
    plane, truth = as_maps(prob, label)
    step = np.ones(2) if spacing is None else np.broadcast_to(np.asarray(spacing, dtype=np.float64).ravel(), 2)
    if not (step > 0).all():
        raise ValueError(f"spacing must be positive millimetres per pixel, got {spacing}.")
    predicted = plane >= threshold
    if not predicted.any() and not truth.any():
        return 0.0
    if not predicted.any() or not truth.any():
        return float(np.hypot(*(np.array(truth.shape) * step)))
    value = compute_hausdorff_distance(
        torch.from_numpy(predicted)[None, None],
        torch.from_numpy(truth)[None, None],
        include_background=True,
        percentile=95,
        spacing=step.tolist(),
    )
    return float(value)
