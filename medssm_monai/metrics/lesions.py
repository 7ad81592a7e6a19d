"""Which lesions a mask finds: connected components, whatever their size."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import generate_binary_structure
from scipy.ndimage import label as components

__all__ = ["lesion_scores"]


def lesion_scores(pred: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Lesions found, missed and made up.

    A lesion is a connected component; elements that share a corner are connected (8 neighbors in 2D, 26 in 3D). A
    lesion of the label is found when the prediction overlaps it anywhere, and a lesion of the prediction is made up
    when it overlaps the label nowhere.

    Args:
        pred: bool ``(*spatial)``.
        label: the same.

    Returns:
        ``lesion_tp`` and ``lesion_fn``, lesions of the label found and missed; ``lesion_fp``, lesions of the prediction
        made up; ``lesion_sensitivity = TP / (TP + FN)`` and ``lesion_f1 = 2 TP / (2 TP + FP + FN)``, NaN where there is
        nothing to count.
    """
    corners = generate_binary_structure(label.ndim, label.ndim)
    both = pred & label
    numbers, count = components(label, corners)
    tp = len(np.unique(numbers[both]))
    numbers, predicted = components(pred, corners)
    fp = predicted - len(np.unique(numbers[both]))
    counted = 2 * tp + fp + count - tp
    return {
        "lesion_tp": float(tp),
        "lesion_fn": float(count - tp),
        "lesion_fp": float(fp),
        "lesion_sensitivity": tp / count if count else float("nan"),
        "lesion_f1": 2 * tp / counted if counted else float("nan"),
    }
