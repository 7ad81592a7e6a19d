"""How much two classifications of the same images differ, with intervals from resampling the images in pairs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from .bootstrap import BootstrapInterval, ClassificationFigures, bootstrap_weighted
from .calibration import CALIBRATION_BINS
from .classification import CLASSIFICATION_METRICS
from .predictions import as_predictions

__all__ = ["paired_classification"]


def paired_classification(
    probabilities: ArrayLike,
    reference: ArrayLike,
    labels: ArrayLike,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
    bins: int = CALIBRATION_BINS,
) -> dict[str, BootstrapInterval]:
    """Percentile bootstrap intervals of the differences ``probabilities`` minus ``reference``, metric by metric.

    Both are scored on the same resamples, so that what makes an image hard for both cancels; an interval of the
    difference is narrower than those of the two figures suggest. Of scores that are means over images (Dice), take
    ``bootstrap_interval`` of the differences.

    Args:
        probabilities, reference: ``(N, K)`` each, of the same images in the same order, see ``as_predictions``.
        labels: ``(N,)``, 0 to K - 1.
        n_resamples, confidence, seed, groups: as in ``bootstrap_interval``.
        bins: of the calibration error.

    Returns:
        one interval per name of ``CLASSIFICATION_METRICS``.

    Raises:
        ValueError: unequal shapes, and as ``as_predictions``.
    """
    first, second = (as_predictions(values, labels) for values in (probabilities, reference))
    if first.probabilities.shape != second.probabilities.shape:
        raise ValueError(
            f"the two classifications have {first.num_classes} and {second.num_classes} classes; compare those of the "
            "same classes."
        )
    scored, compared = ClassificationFigures(first, bins), ClassificationFigures(second, bins)

    def differences(weights: np.ndarray) -> dict[str, np.ndarray]:
        own, other = scored(weights), compared(weights)
        return {name: own[name] - other[name] for name in CLASSIFICATION_METRICS}

    return bootstrap_weighted(differences, len(first.labels), n_resamples, confidence, seed, groups)
