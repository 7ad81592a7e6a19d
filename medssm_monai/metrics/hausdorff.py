"""95 % Hausdorff distance of one binary segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance

from medssm_monai.metrics.maps import as_maps

__all__ = ["hausdorff_distance_95"]


def hausdorff_distance_95(
    prob: Any, label: Any, threshold: float = 0.5, spacing: float | Sequence[float] | None = None
) -> float:
    """
    The larger of the two 95th percentiles of the distances from one outline to the other (MONAI's definition).

    Outlines are the foreground pixels that touch the background or the image border. Conventions for empty masks:
    both empty give 0; exactly one empty gives the length of the image diagonal, the largest distance there can be, so
    that a missed lesion weighs in the mean and does not vanish as NaN or infinity.

    Args:
        prob: foreground probability `(1, H, W)` or `(H, W)` in [0, 1].
        label: ground truth of the same size, values 0 and 1.
        threshold: a pixel is foreground when `prob >= threshold`.
        spacing: pixel size in millimetres, one number or (row, column). `None`: the distance is in pixels.

    Returns:
        the distance in pixels, or in millimetres when `spacing` is given.

    Raises:
        ValueError: when `spacing` is not positive or has a length other than one or two.
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
