"""Bootstrap intervals: of means over images, of pooled scores, and of classification metrics."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .calibration import CALIBRATION_BINS, calibration_bins
from .classification import CLASSIFICATION_METRICS, PER_CLASS_METRICS, average_over_classes
from .overlap import overlap_scores
from .predictions import Predictions, as_predictions

__all__ = [
    "BootstrapInterval",
    "bootstrap_classification",
    "bootstrap_interval",
    "bootstrap_pooled",
    "bootstrap_weighted",
    "weighted_areas",
]

_MAX_ELEMENTS = 2_000_000  # resampled values held in memory at once


class BootstrapInterval(NamedTuple):
    """A statistic with its interval: ``estimate`` of the sample as it is, ``low`` and ``high`` from the resamples."""

    estimate: float
    low: float
    high: float


def _check(n_resamples: int, confidence: float) -> None:
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, got {n_resamples}.")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, for example 0.95; got {confidence}.")


def _unit_rows(n: int, groups: Sequence[Hashable] | None) -> list[np.ndarray]:
    """Row numbers of each unit that is drawn as a whole: one row, or all rows of a group."""
    if groups is None:
        return [np.array([row]) for row in range(n)]
    if len(groups) != n:
        raise ValueError(f"groups has {len(groups)} entries but there are {n} values; give one group per value.")
    rows: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    return [np.array(members) for members in rows.values()]


def _draws(units: int, n_resamples: int, seed: int, width: int | None = None) -> Iterator[np.ndarray]:
    """Batches ``(b, units)`` of unit numbers drawn with replacement, ``n_resamples`` rows in all; ``width`` values a
    row."""
    rng = np.random.default_rng(seed)
    batch = max(1, _MAX_ELEMENTS // (width or units))
    for start in range(0, n_resamples, batch):
        yield rng.integers(units, size=(min(batch, n_resamples - start), units))


def _interval(estimate: Any, resampled: np.ndarray, confidence: float) -> BootstrapInterval:
    """Percentiles of the resamples; those that are NaN (nothing defined was drawn) are left out."""
    resampled = resampled[~np.isnan(resampled)]
    if resampled.size == 0:
        return BootstrapInterval(float(estimate), float("nan"), float("nan"))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(resampled, [tail, 1.0 - tail])
    return BootstrapInterval(float(estimate), float(low), float(high))


def bootstrap_interval(
    values: Sequence[float] | np.ndarray,
    statistic: Callable[..., Any] = np.mean,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> BootstrapInterval:
    """Percentile bootstrap interval of a statistic of per-image values (Efron and Tibshirani, 1993, ch. 13).

    Args:
        values: one value per image. NaN (undefined) values are left out together with their group entries.
        statistic: takes an array and an ``axis``, as ``numpy.mean`` and ``numpy.std`` do. No median: the percentile
            interval of a median of few values covers less than it says.
        n_resamples: how many resamples.
        confidence: coverage of the interval, between 0 and 1.
        seed: seed of the draws; the same seed gives the same interval.
        groups: one label per value. Whole groups are drawn then: frames of one video sequence, or images of one
            patient, are no independent samples, and an interval over single images would be too narrow.

    Returns:
        the estimate with its bounds; the bounds are NaN with fewer than two values (groups), all three without values.

    Raises:
        ValueError: values not one-dimensional, unequal lengths, a median, or parameters out of range.
    """
    _check(n_resamples, confidence)
    if statistic in (np.median, np.nanmedian):
        raise ValueError("a percentile bootstrap interval of a median covers less than it says; take that of the mean.")
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"values must be one-dimensional (one value per image), got shape {array.shape}.")
    if groups is not None and len(groups) != len(array):
        raise ValueError(f"groups has {len(groups)} entries but there are {len(array)} values; give one per value.")
    defined = ~np.isnan(array)
    if groups is not None:
        groups = [group for group, keep in zip(groups, defined, strict=True) if keep]
    array = array[defined]
    if array.size == 0:
        return BootstrapInterval(float("nan"), float("nan"), float("nan"))
    rows = _unit_rows(len(array), groups)
    estimate = statistic(array, axis=-1)
    if len(rows) < 2:
        return BootstrapInterval(float(estimate), float("nan"), float("nan"))
    resampled: list[Any] = []
    for draw in _draws(len(rows), n_resamples, seed):
        if groups is None:
            resampled.extend(statistic(array[draw], axis=-1))
        else:  # groups differ in size, so resamples differ in length
            resampled.extend(statistic(array[np.concatenate([rows[u] for u in units])], axis=-1) for units in draw)
    return _interval(estimate, np.asarray(resampled, dtype=np.float64), confidence)


def bootstrap_pooled(
    counts: np.ndarray,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> dict[str, BootstrapInterval]:
    """Scores pooled over all pixels of a data set, with intervals from resampling its images (or groups of images).

    Args:
        counts: ``(images, 4)`` pixel counts TP, FP, FN, TN per image (``confusion_counts``).
        n_resamples, confidence, seed, groups: as in ``bootstrap_interval``.

    Returns:
        one interval per name in ``OVERLAP_METRICS``.

    Raises:
        ValueError: no images, wrong shape, unequal lengths, or parameters out of range.
    """
    _check(n_resamples, confidence)
    counts = np.asarray(counts, dtype=np.int64)
    if counts.ndim != 2 or counts.shape[1] != 4 or len(counts) == 0:
        raise ValueError(f"counts must have shape (images, 4) with at least one image, got {counts.shape}.")
    units = np.stack([counts[rows].sum(axis=0) for rows in _unit_rows(len(counts), groups)])
    pooled = overlap_scores(units.sum(axis=0))
    if len(units) < 2:
        return {name: BootstrapInterval(float(value), float("nan"), float("nan")) for name, value in pooled.items()}
    sums = np.concatenate([units[draw].sum(axis=1) for draw in _draws(len(units), n_resamples, seed)])
    return {name: _interval(pooled[name], values, confidence) for name, values in overlap_scores(sums).items()}


def _multiplicities(draw: np.ndarray, unit_of_row: np.ndarray, units: int) -> np.ndarray:
    """How often each row is part of each resample ``(b, rows)``, from drawn unit numbers ``(b, units)``."""
    offsets = np.arange(len(draw))[:, None] * units
    counts = np.bincount((draw + offsets).ravel(), minlength=len(draw) * units).reshape(len(draw), units)
    return counts[:, unit_of_row]


def bootstrap_weighted(
    statistics: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    n: int,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> dict[str, BootstrapInterval]:
    """Intervals of statistics of a whole sample (an area under a curve, a macro F1) that no mean over images gives.

    A resample is passed as the number of times it holds each sample, so that a statistic sorts or counts once and
    weighs then; the draws are those of ``bootstrap_interval`` with the same seed.

    Args:
        statistics: takes integer weights ``(b, n)``, one row per resample, and returns arrays ``(b,)`` by name.
        n: number of samples.
        n_resamples, confidence, seed, groups: as in ``bootstrap_interval``.

    Returns:
        one interval per name; resamples in which a statistic is NaN (a class was not drawn) are left out of its bounds,
        which are NaN with fewer than two samples (groups).

    Raises:
        ValueError: no samples, unequal lengths, or parameters out of range.
    """
    _check(n_resamples, confidence)
    if n < 1:
        raise ValueError(f"n must be at least 1 sample, got {n}.")
    rows = _unit_rows(n, groups)
    unit_of_row = np.empty(n, dtype=np.int64)
    for unit, members in enumerate(rows):
        unit_of_row[members] = unit
    estimates = {name: values[0] for name, values in statistics(np.ones((1, n), dtype=np.int64)).items()}
    if len(rows) < 2:
        return {name: BootstrapInterval(float(value), float("nan"), float("nan")) for name, value in estimates.items()}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in estimates}
    for draw in _draws(len(rows), n_resamples, seed, width=n):
        for name, values in statistics(_multiplicities(draw, unit_of_row, len(rows))).items():
            parts[name].append(values)
    return {name: _interval(estimates[name], np.concatenate(parts[name]), confidence) for name in estimates}


def weighted_areas(score: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ROC-AUC (trapezoidal rule) and average precision for each row of weights; NaN where they are undefined.

    The same figures as ``sklearn.metrics.roc_auc_score`` and ``average_precision_score`` with ``sample_weight``, for
    all resamples with one sort.

    Args:
        score: ``(n,)``, larger means rather positive.
        positive: ``(n,)`` bool.
        weights: ``(b, n)``, not negative.

    Returns:
        two arrays ``(b,)``.
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


class ClassificationFigures:
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
        """Figures ``(b,)`` by name: ``CLASSIFICATION_METRICS``, and ``(name, class)`` for those per class."""
        total = weights.sum(axis=1).astype(np.float64)
        table = self._per_class(weights, total)
        figures: dict[Any, np.ndarray] = average_over_classes(table)
        figures["accuracy"] = table.pop("hits").sum(axis=1) / total
        figures["ece"] = np.abs(weights @ self.gaps).sum(axis=1) / total
        chosen: dict[Any, np.ndarray] = {name: figures[name] for name in CLASSIFICATION_METRICS}
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
    """Percentile bootstrap intervals of ``classification_metrics`` and of ``per_class_metrics``.

    Args:
        probabilities: ``(N, K)``, see ``as_predictions``, which raises on bad input.
        labels: ``(N,)``, 0 to K - 1.
        n_resamples, confidence, seed, groups: as in ``bootstrap_interval``; groups are patients or lesions.
        bins: of the calibration error.

    Returns:
        an interval per name of ``CLASSIFICATION_METRICS`` and per pair ``(name of PER_CLASS_METRICS, class number)``. A
        resample that lacks a class is averaged over the others, and left out of that class' own intervals.
    """
    data = as_predictions(probabilities, labels)
    return bootstrap_weighted(
        ClassificationFigures(data, bins), len(data.labels), n_resamples, confidence, seed, groups
    )
