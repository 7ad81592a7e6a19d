"""Intervals of several trainings of several networks on one test set: images and trainings are both a sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .bootstrap import BootstrapInterval, ClassificationFigures, _check, _draws, _interval, _multiplicities, _unit_rows
from .calibration import CALIBRATION_BINS
from .predictions import as_predictions

__all__ = [
    "Comparison",
    "Statistics",
    "bootstrap_hierarchical",
    "classification_statistics",
    "holm",
    "mean_statistics",
]

Statistics = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Figures ``(b,)`` by name, from integer weights ``(b, n)``: how often each resample holds each image."""


class Comparison(NamedTuple):
    """A row's mean over its trainings, its difference to the reference, and the p-value of "no difference": two-sided,
    twice the smaller share of resamples at or beyond zero, NaN without resamples. Both None for the reference."""

    mean: BootstrapInterval
    difference: BootstrapInterval | None
    p_value: float | None = None


def mean_statistics(scores: Mapping[str, ArrayLike]) -> Statistics:
    """Means over images.

    Args:
        scores: by name, one value ``(n,)`` per image; NaN is undefined and left out.
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in scores.items()}

    def means(weights: np.ndarray) -> dict[str, np.ndarray]:
        figures = {}
        for name, values in arrays.items():
            defined = ~np.isnan(values)
            with np.errstate(invalid="ignore"):
                figures[name] = weights @ np.where(defined, values, 0.0) / (weights @ defined.astype(np.float64))
        return figures

    return means


def classification_statistics(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = CALIBRATION_BINS
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """All of ``CLASSIFICATION_METRICS`` (accuracy, ROC-AUC, ...), computed anew for each resample.

    Args:
        probabilities: ``(n, K)``, see ``as_predictions``, which raises on bad input.
        labels: ``(n,)``, 0 to K - 1.
        bins: of the calibration error.
    """
    return ClassificationFigures(as_predictions(probabilities, labels), bins)


def bootstrap_hierarchical(
    rows: Mapping[str, Sequence[Statistics]],
    n: int,
    metrics: Sequence[str],
    reference: str | None = None,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> dict[str, dict[str, Comparison]]:
    """Percentile intervals of means over trainings, and of paired differences to a reference.

    A resample draws the images (or whole groups) with replacement, the same ones for all rows and trainings, and for
    each row apart as many of its trainings as it has, with replacement too; its figure is the mean over the drawn
    trainings of their figure on the drawn images. Drawing from ``S`` trainings scatters too little, by
    ``sqrt((S - 1) / S)``, which matters for three, so the drawn mean is moved away from the mean of all by the inverse.
    With one training the interval is that of the images alone: it says nothing about another seed.

    Args:
        rows: by name, the statistics of each of the row's trainings, all of the same ``n`` images.
        n: number of images.
        metrics: names of the figures.
        reference: row whose figure is subtracted from that of the others, resample by resample.
        n_resamples, confidence, seed, groups: as in ``bootstrap_interval``.

    Returns:
        per row and metric a :class:`Comparison`; bounds are NaN with fewer than two images (groups).

    Raises:
        ValueError: no rows, a row without trainings, an unknown reference, or parameters out of range.

    Source: Davison & Hinkley, "Bootstrap Methods and their Application" (1997), section 3.8 (hierarchical data); images
    and trainings are crossed here, as in Owen, "The pigeonhole bootstrap" (2007).
    """
    _check(n_resamples, confidence)
    if n < 1 or not rows or not all(rows.values()):
        raise ValueError(f"expected images, rows, and trainings of each, got {n} and {dict(rows)}.")
    if reference is not None and reference not in rows:
        raise ValueError(f"reference must be one of {list(rows)}, got {reference!r}.")
    units = _unit_rows(n, groups)
    unit_of_row = np.empty(n, dtype=np.int64)
    for number, members in enumerate(units):
        unit_of_row[members] = number
    whole = [np.ones((1, n), dtype=np.int64)]
    estimates = {name: _figures(trainings, whole, metrics).mean(1)[:, 0] for name, trainings in rows.items()}
    if len(units) < 2:
        resampled = {name: np.full((len(metrics), 1), math.nan) for name in rows}
    else:
        draws = _draws(len(units), n_resamples, seed, width=n)
        weights = [_multiplicities(draw, unit_of_row, len(units)) for draw in draws]
        rng = np.random.default_rng([seed, 1])
        resampled = {name: _over_trainings(_figures(row, weights, metrics), rng) for name, row in rows.items()}
    compared: dict[str, dict[str, Comparison]] = {}
    for name in rows:
        compared[name] = {}
        for number, metric in enumerate(metrics):
            mean = _interval(estimates[name][number], resampled[name][number], confidence)
            lead, p_value = None, None
            if reference is not None and name != reference:
                estimate, drawn = (part[name][number] - part[reference][number] for part in (estimates, resampled))
                lead, p_value = _interval(estimate, drawn, confidence), _two_sided(drawn)
            compared[name][metric] = Comparison(mean, lead, p_value)
    return compared


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of one family, adjusted by Holm's step-down procedure: the chance of any false finding stays below alpha
    where those below alpha are called findings. NaN stays NaN and does not count.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    """
    adjusted = [math.nan] * len(p_values)
    order = sorted((p, number) for number, p in enumerate(p_values) if not math.isnan(p))
    largest = 0.0
    for rank, (p, number) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        adjusted[number] = largest
    return adjusted


def _two_sided(drawn: np.ndarray) -> float:
    """Twice the smaller share of the resampled differences at or beyond zero (one counted on each side, so it is never
    0), as an interval that leaves zero out turns into a test."""
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return math.nan
    least = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (1 + least) / (1 + len(defined)))


def _figures(trainings: Sequence[Statistics], weights: Sequence[np.ndarray], metrics: Sequence[str]) -> np.ndarray:
    """``(metrics, trainings, resamples)``."""
    parts = []
    for batch in weights:
        found = [statistics(batch) for statistics in trainings]
        parts.append(np.array([[figures[metric] for figures in found] for metric in metrics], dtype=np.float64))
    return np.concatenate(parts, axis=-1)


def _over_trainings(figures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``(metrics, trainings, resamples)`` to the means over drawn trainings ``(metrics, resamples)``."""
    count, resamples = figures.shape[1:]
    center = figures.mean(axis=1)
    if count == 1:
        return center
    drawn = rng.integers(count, size=(1, count, resamples))
    mean = np.take_along_axis(figures, np.broadcast_to(drawn, figures.shape), axis=1).mean(axis=1)
    return center + math.sqrt(count / (count - 1)) * (mean - center)
