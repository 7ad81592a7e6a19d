"""Structure measure of a foreground map (Fan et al., "Structure-measure", ICCV 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np

from medssm_monai.metrics.maps import as_maps, normalise_map

__all__ = ["s_measure"]

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
    """
    `S = alpha * S_object + (1 - alpha) * S_region`, not below 0.

    As in the paper, an empty label scores one minus the map's mean, and a label that covers the image the map's mean.

    Args:
        prob: foreground probability `(1, H, W)` or `(H, W)` in [0, 1].
        label: ground truth of the same size, values 0 and 1.
        alpha: weight of the object term, 0.5 in the paper.
        normalise: stretch the map to [0, 1] first, as PraNet's toolbox does (see `normalise_map`).
    """
    plane, truth = as_maps(prob, label)
    plane = normalise_map(plane, truth) if normalise else plane
    if not truth.any():
        return float(1 - plane.mean())
    if truth.all():
        return float(plane.mean())
    score = alpha * _object_similarity(plane, truth) + (1 - alpha) * _region_similarity(plane, truth)
    return float(max(score, 0.0))
