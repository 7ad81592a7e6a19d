"""Checks shared by the segmentation metrics: what a probability map and a label must look like."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

__all__ = ["as_maps", "normalise_map"]


def _as_plane(values: Any, name: str) -> np.ndarray:
    """One image plane `(H, W)` as a NumPy array, from a tensor or array `(1, H, W)` or `(H, W)`."""
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
    """
    Check one prediction with its label and bring both into the form that the metrics use.

    Args:
        prob: foreground probability, `(1, H, W)` or `(H, W)`, values in [0, 1] (a binary mask is one, too).
        label: ground truth, same size, values 0 and 1.

    Returns:
        the probability as float64 `(H, W)` and the label as bool `(H, W)`.

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
    """
    Stretch a map linearly to [0, 1], as the published polyp results and their evaluation toolbox do.

    Decision: a constant map stays as it is (nothing to stretch), and so does the map of an image whose label is empty:
    stretching would turn the faint noise of a correct "nothing here" into a confident wrong prediction.

    Args:
        prob: probabilities `(H, W)`.
        label: bool `(H, W)`.
    """
    low, high = prob.min(), prob.max()
    if high == low or not label.any():
        return prob
    return (prob - low) / (high - low)
