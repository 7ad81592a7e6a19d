"""All scores of one binary segmentation by name, and the two named sets that the bundles report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .overlap import OVERLAP_METRICS, as_maps, confusion_counts, hausdorff_distance_95, normalise_map, overlap_scores
from .polyp import e_measure_from_counts, s_measure, threshold_counts, weighted_f_measure

__all__ = ["METRIC_SETS", "mean_absolute_error", "metric_names", "segmentation_metrics"]

_CURVE_METRICS: dict[str, Callable[[np.ndarray], float]] = {
    "dice_over_thresholds": lambda counts: float(overlap_scores(counts)["dice"].mean()),
    "iou_over_thresholds": lambda counts: float(overlap_scores(counts)["iou"].mean()),
    "e_measure": lambda counts: float(e_measure_from_counts(counts).mean()),
    "e_measure_max": lambda counts: float(e_measure_from_counts(counts).max()),
}
_MAP_METRICS = ("s_measure", "weighted_f_measure", "mae")
_ALL = (*OVERLAP_METRICS, "hd95", *_CURVE_METRICS, *_MAP_METRICS)

METRIC_SETS: dict[str, tuple[str, ...]] = {
    "basic": OVERLAP_METRICS,
    "polyp": (*OVERLAP_METRICS, "dice_over_thresholds", "s_measure", "e_measure", "weighted_f_measure", "mae", "hd95"),
}


def metric_names(metrics: str | Sequence[str] = "basic") -> tuple[str, ...]:
    """The metric names behind a set's name, or the given list after a check.

    Raises:
        ValueError: unknown set or metric; the message lists what there is.
    """
    if isinstance(metrics, str):
        if metrics in METRIC_SETS:
            return METRIC_SETS[metrics]
        if metrics not in _ALL:
            raise ValueError(f"unknown metric set {metrics!r}; sets: {sorted(METRIC_SETS)}, metrics: {list(_ALL)}.")
        return (metrics,)
    unknown = [name for name in metrics if name not in _ALL]
    if unknown or not metrics:
        raise ValueError(f"unknown metrics {unknown}; choose from {list(_ALL)} or a set of {sorted(METRIC_SETS)}.")
    return tuple(dict.fromkeys(metrics))


def mean_absolute_error(prob: Any, label: Any, normalise: bool = True) -> float:
    """Mean of ``|prob - label|`` over all pixels, of the map stretched to [0, 1] unless ``normalise`` is off."""
    plane, truth = as_maps(prob, label)
    return float(np.abs((normalise_map(plane, truth) if normalise else plane) - truth).mean())


def segmentation_metrics(
    prob: Any,
    label: Any,
    metrics: str | Sequence[str] = "basic",
    threshold: float = 0.5,
    spacing: float | Sequence[float] | None = None,
    normalise: bool = True,
) -> dict[str, float]:
    """Score one image.

    ``dice``, ``iou``, ``iou_mean``, ``sensitivity``, ``specificity``, ``accuracy`` and ``hd95`` judge the mask ``prob
    >= threshold``; ``dice_over_thresholds``, ``iou_over_thresholds``, ``e_measure`` (mean over 256 thresholds),
    ``e_measure_max``, ``s_measure``, ``weighted_f_measure`` and ``mae`` judge the map itself, as PraNet's toolbox does.
    What empty masks give is stated at each function.

    Args:
        prob: foreground probability ``(1, H, W)`` or ``(H, W)`` in [0, 1].
        label: ground truth of the same size, values 0 and 1.
        metrics: ``"basic"``, ``"polyp"``, or a list of names.
        threshold: a pixel is foreground when ``prob >= threshold``.
        spacing: pixel size in millimetres for ``hd95``; ``None`` gives pixels.
        normalise: stretch the map to [0, 1] for the metrics that judge the map (the published convention).

    Returns:
        one float per name, in the order asked for; NaN where a score is undefined for this image.
    """
    names = metric_names(metrics)
    plane, truth = as_maps(prob, label)
    scores = {name: float(value) for name, value in overlap_scores(confusion_counts(plane, truth, threshold)).items()}
    stretched = normalise_map(plane, truth) if normalise else plane
    if any(name in _CURVE_METRICS for name in names):
        counts = threshold_counts(stretched, truth)
        scores.update({name: score(counts) for name, score in _CURVE_METRICS.items() if name in names})
    if "hd95" in names:
        scores["hd95"] = hausdorff_distance_95(plane, truth, threshold, spacing)
    if "s_measure" in names:
        scores["s_measure"] = s_measure(stretched, truth, normalise=False)
    if "weighted_f_measure" in names:
        scores["weighted_f_measure"] = weighted_f_measure(stretched, truth, threshold=threshold, normalise=False)
    if "mae" in names:
        scores["mae"] = mean_absolute_error(stretched, truth, normalise=False)
    return {name: scores[name] for name in names}
