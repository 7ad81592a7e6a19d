"""How far the surfaces of two masks lie apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics.utils import get_edge_surface_distance

__all__ = ["surface_scores"]


def surface_scores(
    pred: np.ndarray, label: np.ndarray, spacing: Sequence[float], tolerance: float = 1.0
) -> dict[str, float]:
    """95th percentile of the Hausdorff distance, and normalized surface Dice (Nikolov et al., 2021).

    A surface is what of a mask touches the background or the image border; both scores come from one set of distances
    between surface elements, as MONAI counts them (``use_subvoxels=False``).

    Args:
        pred: bool ``(*spatial)`` with foreground.
        label: the same.
        spacing: length of an element along each axis.
        tolerance: in the unit of ``spacing``; a surface element that lies at most so far from the other surface counts
            as right.

    Returns:
        ``hd95`` in the unit of ``spacing``, the larger of the two directions; ``surface_dice`` from 0 to 1.
    """
    masks = torch.from_numpy(np.ascontiguousarray(pred)), torch.from_numpy(np.ascontiguousarray(label))
    _, distances, _ = get_edge_surface_distance(*masks, spacing=list(spacing), symmetric=True)
    there, back = (np.asarray(torch.as_tensor(found)) for found in distances)
    within = np.count_nonzero(there <= tolerance) + np.count_nonzero(back <= tolerance)
    return {
        "hd95": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "surface_dice": float(within / (len(there) + len(back))),
    }
