"""Weighted F-measure of a foreground map (Margolin et al., "How to evaluate foreground maps?", CVPR 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import correlate1d, distance_transform_edt

from medssm_monai.metrics.maps import as_maps, normalise_map

__all__ = ["weighted_f_measure"]

_SIGMA = 5.0
_GAUSSIAN = np.exp(-np.square(np.arange(-3, 4)) / (2 * _SIGMA**2))
_GAUSSIAN /= _GAUSSIAN.sum()


def weighted_f_measure(
    prob: Any, label: Any, beta2: float = 1.0, threshold: float = 0.5, normalise: bool = True
) -> float:
    """
    `F = (1 + beta2) * P * R / (beta2 * P + R)` from weighted precision and recall.

    Errors within the foreground are smoothed over a 7x7 Gaussian (sigma 5, zero outside the image), the error of the
    nearest foreground pixel standing in for background pixels; errors in the background weigh
    `2 - exp(log(0.5) / 5 * distance to the foreground)`. Where two foreground pixels are equally near, the choice is
    SciPy's; MATLAB's may differ in the fourth digit.

    Decision for an empty label, for which recall is undefined: 1 when no pixel reaches `threshold`, else 0.

    Args:
        prob: foreground probability `(1, H, W)` or `(H, W)` in [0, 1].
        label: ground truth of the same size, values 0 and 1.
        beta2: weight of recall, 1 as in the authors' code.
        threshold: only used for empty labels.
        normalise: stretch the map to [0, 1] first, as PraNet's toolbox does (see `normalise_map`).

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
