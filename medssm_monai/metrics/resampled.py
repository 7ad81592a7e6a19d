"""Classification metrics of many resamples at once: each metric sorts or counts once, and weighs per resample."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medssm_monai.metrics.bootstrap import BootstrapInterval, bootstrap_weighted
from medssm_monai.metrics.calibration import CALIBRATION_BINS, calibration_bins
from medssm_monai.metrics.classification import CLASSIFICATION_METRICS, PER_CLASS_METRICS, average_over_classes
from medssm_monai.metrics.predictions import Predictions, as_predictions

__all__ = ["bootstrap_classification", "weighted_areas"]


def weighted_areas(score: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    ROC-AUC (trapezoidal rule) and average precision for each row of weights; NaN where they are undefined.

    The same figures as `sklearn.metrics.roc_auc_score` and `average_precision_score` with `sample_weight`, for all
    resamples with one sort.

    Args:
        score: `(n,)`, larger means rather positive.
        positive: `(n,)` bool.
        weights: `(b, n)`, not negative.

    Returns:
        two arrays `(b,)`.
    """
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])  # of each run of equal scores
    ordered = weights[:, order].astype(np.float64)
    hits = np.cumsum(ordered * positive[order], axis=1)[:, last]  # true positives at each threshold (b, thresholds)
    calls = np.cumsum(ordered, axis=1)[:, last]
    alarms = calls - hits
    new_hits, new_alarms = np.diff(hits, prepend=0.0), np.diff(alarms, prepend=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        roc = (new_alarms * (hits - new_hits / 2)).sum(axis=1) / (hits[:, -1] * alarms[:, -1])
        precision = np.where(calls > 0, hits / calls, 0.0)
        average_precision = (new_hits * precision).sum(axis=1) / hits[:, -1]
    return roc, average_precision


class _Resampler:
    """Everything about the samples that does not depend on the weights, and the figures for given weights."""

    def __init__(self, data: Predictions, bins: int) -> None:
        self.data = data
        numbers = np.arange(data.num_classes)
        label, predicted = (x[:, None] == numbers for x in (data.labels, data.classes))  # (n, K)
        # Columns, so that one product with the weights counts everything: samples, predictions and hits per class.
        self.counted = np.concatenate([label, predicted, label & predicted], axis=1).astype(np.float64)
        self.positive = label
        right = data.classes == data.labels
        place = calibration_bins(data.confidences, bins)
        self.gaps = np.where(place[:, None] == np.arange(bins), (right - data.confidences)[:, None], 0.0)  # (n, bins)

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Figures `(b,)` by name: `CLASSIFICATION_METRICS`, and `(name, class)` for those per class."""
        total = weights.sum(axis=1).astype(np.float64)
        table = self._per_class(weights, total)
        figures: dict[Any, np.ndarray] = average_over_classes(table)
        figures["accuracy"] = table.pop("hits").sum(axis=1) / total
        figures["ece"] = np.abs(weights @ self.gaps).sum(axis=1) / total
        chosen = {name: figures[name] for name in CLASSIFICATION_METRICS}
        for name in PER_CLASS_METRICS:
            chosen |= {(name, number): table[name][:, number] for number in range(self.data.num_classes)}
        return chosen

    def _per_class(self, weights: np.ndarray, total: np.ndarray) -> dict[str, np.ndarray]:
        support, called, hits = np.split(weights @ self.counted, 3, axis=1)  # each (b, K)
        absent = support == 0
        negatives = total[:, None] - support
        areas = [weighted_areas(p, y, weights) for p, y in zip(self.data.probabilities.T, self.positive.T, strict=True)]
        with np.errstate(invalid="ignore", divide="ignore"):
            table = {
                "precision": np.where(called > 0, hits / called, 0.0),
                "sensitivity": hits / support,
                "specificity": (negatives - called + hits) / negatives,
                "f1": 2 * hits / (support + called),
                "roc_auc": np.stack([roc for roc, _ in areas], axis=1),
                "pr_auc": np.stack([pr for _, pr in areas], axis=1),
            }
        for name in ("precision", "f1"):
            table[name] = np.where(absent, np.nan, table[name])
        return {**table, "support": support, "hits": hits}


def bootstrap_classification(
    probabilities: ArrayLike,
    labels: ArrayLike,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
    bins: int = CALIBRATION_BINS,
) -> dict[Any, BootstrapInterval]:
    """
    Percentile bootstrap intervals of `classification_metrics` and of `per_class_metrics`.

    Args:
        probabilities: `(N, K)`, see `as_predictions`, which raises on bad input.
        labels: `(N,)`, 0 to K - 1.
        n_resamples, confidence, seed, groups: as in `bootstrap_interval`; groups are patients or lesions.
        bins: of the calibration error.

    Returns:
        an interval per name of `CLASSIFICATION_METRICS` and per pair `(name of PER_CLASS_METRICS, class number)`. A
        resample that lacks a class is averaged over the others, and left out of that class' own intervals.
    """
    data = as_predictions(probabilities, labels)
    return bootstrap_weighted(_Resampler(data, bins), len(data.labels), n_resamples, confidence, seed, groups)
