"""From the class probabilities of single images to the figures of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medssm_monai.handlers.report_summary import common_groups
from medssm_monai.metrics.calibration import CALIBRATION_BINS
from medssm_monai.metrics.classification import (
    PER_CLASS_METRICS,
    classification_metrics,
    confusion_matrix,
    per_class_metrics,
    undefined_metrics,
)
from medssm_monai.metrics.predictions import as_predictions
from medssm_monai.metrics.resampled import bootstrap_classification

__all__ = ["ClassifiedImage", "summarise_classification"]

SHOWN_ERRORS = 5


@dataclass
class ClassifiedImage:
    """What is kept of one image: its file, probabilities `(K,)`, class number and, where known, patient or lesion."""

    name: str
    probabilities: np.ndarray
    label: int
    group: str | None = None


def summarise_classification(
    records: Sequence[ClassifiedImage],
    class_names: Sequence[str],
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    bins: int = CALIBRATION_BINS,
) -> dict[str, Any]:
    """
    All metrics of a data set with bootstrap intervals.

    Args:
        records: one per image. When every record has a `group`, whole groups are resampled.
        class_names: one per class.
        n_resamples, confidence, seed: of the bootstrap.
        bins: of the calibration error.

    Returns:
        a dict that JSON can hold: `images`, `class_names`, `metrics` (value, low, high per name), `per_class` (the same
        per class, with `support`), `confusion_matrix` (rows are labels), `undefined` (reasons), `confident_errors` (the
        five wrong answers of highest confidence), `bootstrap`.

    Raises:
        ValueError: no records, or probabilities of another number of classes.
    """
    if not records:
        raise ValueError("no images were evaluated, there is nothing to summarise; check the data list.")
    probabilities = np.stack([record.probabilities for record in records])
    data = as_predictions(probabilities, [record.label for record in records], class_names)
    groups = common_groups(records)
    bootstrap = {"n_resamples": n_resamples, "confidence": confidence, "seed": seed}
    intervals = bootstrap_classification(*data, groups=groups, bins=bins, **bootstrap)

    def entry(key: Any, value: float) -> dict[str, float]:
        return {"value": float(value), "low": intervals[key].low, "high": intervals[key].high}

    table = per_class_metrics(*data)
    summary: dict[str, Any] = {
        "images": len(records),
        "class_names": list(class_names),
        "metrics": {name: entry(name, value) for name, value in classification_metrics(*data, bins=bins).items()},
        "per_class": {
            label: {
                "support": int(table["support"][number]),
                **{name: entry((name, number), table[name][number]) for name in PER_CLASS_METRICS},
            }
            for number, label in enumerate(class_names)
        },
        "confusion_matrix": confusion_matrix(*data).tolist(),
        "undefined": undefined_metrics(data.labels, class_names),
        "confident_errors": _confident_errors(records, class_names),
        "calibration_bins": bins,
        "bootstrap": {**bootstrap, "method": "percentile", "unit": "image" if groups is None else "group"},
    }
    if groups is not None:
        summary["groups"] = len(set(groups))
    return summary


def _confident_errors(records: Sequence[ClassifiedImage], class_names: Sequence[str]) -> list[dict[str, Any]]:
    """The wrong answers that the network was surest of, the surest first."""
    wrong = [record for record in records if int(record.probabilities.argmax()) != record.label]
    wrong.sort(key=lambda record: (-record.probabilities.max(), record.name))
    return [
        {
            "image": record.name,
            "label": class_names[record.label],
            "predicted": class_names[int(record.probabilities.argmax())],
            "confidence": float(record.probabilities.max()),
        }
        for record in wrong[:SHOWN_ERRORS]
    ]
