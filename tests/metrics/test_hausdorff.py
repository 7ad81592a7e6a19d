from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from medssm_monai.metrics import hausdorff_distance_95

from .maps_for_tests import smooth_pair


def brute_force(predicted: np.ndarray, label: np.ndarray, spacing: tuple[float, float]) -> float:
    """All distances between all outline pixels, by definition."""
    a, b = (np.argwhere(mask & ~binary_erosion(mask)) * np.array(spacing) for mask in (predicted, label))
    distances = cdist(a, b)
    return max(np.percentile(distances.min(axis=1), 95), np.percentile(distances.min(axis=0), 95))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [None, 0.7, (0.5, 2.0)])
def test_agrees_with_brute_force(seed: int, spacing) -> None:
    prob, label = smooth_pair(seed)
    step = (1.0, 1.0) if spacing is None else (spacing, spacing) if np.isscalar(spacing) else spacing
    expected = brute_force(prob >= 0.5, label, step)
    assert expected > 0
    assert hausdorff_distance_95(prob, label, spacing=spacing) == pytest.approx(expected, rel=1e-5)


def test_two_pixels_three_and_four_apart() -> None:
    prob, label = np.zeros((10, 10)), np.zeros((10, 10))
    prob[1, 1] = label[4, 5] = 1
    assert hausdorff_distance_95(prob, label) == pytest.approx(5.0)
    assert hausdorff_distance_95(prob, label, spacing=(2, 1)) == pytest.approx(math.hypot(6, 4))


def test_empty_masks() -> None:
    empty, full = np.zeros((30, 40)), np.ones((30, 40))
    assert hausdorff_distance_95(empty, empty) == 0.0
    assert hausdorff_distance_95(full, empty) == pytest.approx(50.0)
    assert hausdorff_distance_95(empty, full, spacing=0.5) == pytest.approx(25.0)
    assert hausdorff_distance_95(full, full) == 0.0


@pytest.mark.parametrize("spacing", [0.0, (1.0, -1.0), (1.0, 1.0, 1.0)])
def test_bad_spacing(spacing) -> None:
    with pytest.raises(ValueError):
        hausdorff_distance_95(np.ones((4, 4)), np.ones((4, 4)), spacing=spacing)
