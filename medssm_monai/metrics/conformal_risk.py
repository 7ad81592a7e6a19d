"""What a mask misses of an image's foreground at each threshold, and the masks that a stored threshold gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["RISK_METHOD", "RISK_THRESHOLDS", "RiskThresholds", "missed_share", "missed_shares"]

RISK_METHOD = "crc"
"""Conformal risk control (Angelopoulos et al., ICLR 2024)."""
RISK_THRESHOLDS = np.unique(np.concatenate([[0.0], np.logspace(-6, -3, 31), np.arange(1, 1000) / 1000])).round(9)
"""Probabilities that a threshold is chosen among: thousandths, and finer below, where sure networks need them."""


def missed_shares(foreground: np.ndarray, thresholds: np.ndarray = RISK_THRESHOLDS) -> np.ndarray:
    """False-negative rate (1 - recall) of one image at each threshold, a pixel being marked when its probability is
    above the threshold.

    Args:
        foreground: probabilities of the pixels that belong to the class, of any shape.
        thresholds: rising, ``(T,)``.

    Returns:
        ``(T,)`` in [0, 1], rising; NaN for an image without such pixels, in which nothing can be missed.
    """
    values = np.asarray(foreground, dtype=np.float64).ravel()
    if not values.size:
        return np.full(len(thresholds), np.nan)
    return np.searchsorted(np.sort(values), thresholds, side="right") / values.size


def missed_share(mask: np.ndarray, truth: np.ndarray) -> float:
    """False-negative rate of a mask; NaN where the truth has no foreground."""
    of_truth = np.asarray(truth, dtype=bool)
    return float(1 - np.asarray(mask, dtype=bool)[of_truth].mean()) if of_truth.any() else float("nan")


@dataclass(frozen=True)
class RiskThresholds:
    """One threshold per class. Masks of the pixels above it miss on average at most ``1 - level`` of an image's
    foreground of that class, for images exchangeable with those that the threshold comes from and that show the class.

    The promise holds for each class by itself. Nothing but NumPy is needed to use them;
    :func:`~.conformal_fit.fit_risk_thresholds` finds them.

    Attributes:
        level: lowest expected recall that was asked for, between 0 and 1.
        thresholds: by class.
    """

    level: float
    thresholds: Mapping[str, float]

    @classmethod
    def of(cls, conformal: Mapping[str, Any], names: Sequence[str]) -> RiskThresholds:
        """Out of the settings beside weights (:func:`medssm_monai.bundle.read_conformal`).

        Raises:
            ValueError: thresholds of other classes, or the sets of a classification.
        """
        if conformal["method"] != RISK_METHOD:
            raise ValueError(
                f"conformal, method is {conformal['method']!r}; of a segmentation it is {RISK_METHOD!r}. Calibrate "
                "these weights again."
            )
        if set(conformal["thresholds"]) != set(names):
            raise ValueError(
                f"thresholds were calibrated for the classes {', '.join(conformal['thresholds'])}, and there are "
                f"{', '.join(names)}. Calibrate these weights again."
            )
        return cls(conformal["level"], {name: float(conformal["thresholds"][name]) for name in names})

    def mask(self, probability: np.ndarray, name: str) -> np.ndarray:
        """uint8, 1 where the probability of a class is above its threshold.

        Raises:
            ValueError: no such class.
        """
        if name not in self.thresholds:
            raise ValueError(f"there is no class {name!r}; there are {', '.join(self.thresholds)}.")
        return (np.asarray(probability, dtype=np.float64) > self.thresholds[name]).astype(np.uint8)
