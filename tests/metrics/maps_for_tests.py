"""Smooth random probability maps and labels (generated, not real images) for the metric tests."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter


def smooth_pair(seed: int, shape: tuple[int, int] = (40, 56), share: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    """A probability map in [0, 1] and a correlated label covering ``share`` of the image."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.random(shape), 4)
    noisy = field + 0.5 * gaussian_filter(rng.random(shape), 3)
    prob = (noisy - noisy.min()) / (noisy.max() - noisy.min()) * 0.9 + 0.03
    return prob, field > np.quantile(field, 1 - share)
