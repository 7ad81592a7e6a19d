"""Figures of one evaluation, image by image, that can be kept in a registry: no file, folder or patient is named."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...experiments.robustness_scores import DEFAULT_METRICS, read_summary, read_table, score_column
from ...metrics import (
    CLASSIFICATION_METRICS,
    BootstrapInterval,
    bootstrap_classification,
    bootstrap_interval,
    paired_classification,
)
from ...utils.text_files import name_cell

__all__ = ["KEY_METRICS", "Figures", "difference", "read_figures"]

KEY_METRICS = {"segmentation": "dice", "classification": "roc_auc", "fusion": DEFAULT_METRICS["fusion"][0]}
"""What versions are compared by, where nothing else is said."""
LESS_IS_BETTER = {"nll", "brier", "ece", "mce", "log_loss", "hd95", "asd"}
NO_DIRECTION = {"volume_difference", "relative_volume_difference", "lesion_tp", "lesion_fn", "lesion_fp"}
NOT_A_SCORE = {"image", "group", "label", "prediction", "row", "height", "width", "subset", "number"}


@dataclass(frozen=True)
class Figures:
    """What an evaluation found.

    Attributes:
        weights: fingerprint of the weights and their settings.
        data: fingerprint of the images and labels, in their order.
        settings: fingerprint of how they were evaluated.
        task: kind of task.
        images: SHA-256 of each item, in the order of the data.
        groups: number of the group of each, patients or sequences; None where there are none.
        bootstrap: ``n_resamples``, ``confidence`` and ``seed``.
        scores: by metric, one value per image, None where undefined; of a classification empty.
        probabilities: ``(N, K)`` of a classification, else empty.
        labels: ``(N,)`` of a classification, else empty.
        bins: of the calibration error.
    """

    weights: str
    data: str
    settings: str
    task: str
    images: tuple[str, ...]
    groups: tuple[int, ...] | None
    bootstrap: Mapping[str, Any]
    scores: Mapping[str, list[float | None]]
    probabilities: tuple[tuple[float, ...], ...] = ()
    labels: tuple[int, ...] = ()
    bins: int = 15

    @property
    def unit(self) -> str:
        """What is drawn: ``"group"``, ``"image"`` or, of a fusion, ``"pair"``."""
        return "group" if self.groups is not None else "pair" if self.task == "fusion" else "image"

    @property
    def units(self) -> int:
        """How many of them there are."""
        return len(self.images if self.groups is None else set(self.groups))

    def require_metric(self, metric: str) -> None:
        """Make sure that versions can be compared by this metric.

        Raises:
            ValueError: it is not there, or more of it is not better.
        """
        there = CLASSIFICATION_METRICS if self.task == "classification" else tuple(self.scores)
        good = [name for name in there if name not in LESS_IS_BETTER | NO_DIRECTION]
        if metric not in good:
            why = "more of it is not better" if metric in there else "the evaluation does not have it"
            raise ValueError(f"versions cannot be compared by {metric!r}: {why}. Choose from {', '.join(good)}.")

    def estimate(self, metric: str) -> BootstrapInterval:
        """The metric with its interval."""
        self.require_metric(metric)
        if self.task == "classification":
            found = bootstrap_classification(
                self.probabilities, self.labels, groups=self.groups, bins=self.bins, **self.bootstrap
            )
            return found[metric]
        return bootstrap_interval(self.column(metric), groups=self.groups, **self.bootstrap)

    def column(self, metric: str) -> np.ndarray:
        """``(N,)``, NaN where undefined."""
        return np.array([np.nan if value is None else value for value in self.scores[metric]], dtype=np.float64)

    def as_json(self) -> str:
        """Text that :meth:`of_json` reads."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def of_json(cls, text: str) -> Figures:
        """Figures that were kept."""
        found = json.loads(text)
        for name in ("images", "labels"):
            found[name] = tuple(found[name])
        found["probabilities"] = tuple(map(tuple, found["probabilities"]))
        found["groups"] = None if found["groups"] is None else tuple(found["groups"])
        return cls(**found)


def read_figures(folder: Path, images: tuple[str, ...], weights: str, data: str, settings: str) -> Figures:
    """Figures of an evaluation's folder.

    Args:
        folder: with ``summary.json`` and the table by image.
        images: SHA-256 of each item, in the order of the data.
        weights, data, settings: as in :class:`Figures`.

    Raises:
        ValueError: the table has another number of images.
        RowError: no such evaluation.
    """
    summary = read_summary(folder)
    task = summary["task"]
    rows = read_table(folder, task)
    if len(rows) != len(images):
        raise ValueError(f"the evaluation has {len(rows)} images, the data set {len(images)}: it changed meanwhile.")
    bootstrap = {key: summary["bootstrap"][key] for key in ("n_resamples", "confidence", "seed")}
    groups = None
    if summary["bootstrap"]["unit"] == "group":
        numbers: dict[str, int] = {}
        groups = tuple(numbers.setdefault(row["group"], len(numbers)) for row in rows)
    known: dict[str, Any] = {"weights": weights, "data": data, "settings": settings, "task": task, "images": images}
    known |= {"groups": groups, "bootstrap": bootstrap}
    if task == "classification":
        names = summary["class_names"]
        number_of = {name_cell(name): number for number, name in enumerate(names)}
        probabilities = tuple(tuple(float(row[f"probability_{name}"]) for name in names) for row in rows)
        labels = tuple(number_of[row["label"]] for row in rows)
        return Figures(
            **known, scores={}, probabilities=probabilities, labels=labels, bins=int(summary["calibration_bins"])
        )
    scores = {
        metric: [None if math.isnan(value) else float(value) for value in score_column(rows, metric)]
        for metric in summary["figures"]
        if metric in rows[0] and metric not in NOT_A_SCORE
    }
    return Figures(**known, scores=scores)


def difference(own: Figures, other: Figures, metric: str) -> BootstrapInterval:
    """How much better ``own`` is than ``other`` on the same images, with a paired bootstrap interval: the same images,
    or groups, are drawn for both.

    Raises:
        ValueError: other images, groups or settings, or a metric that versions cannot be compared by.
    """
    if own.images != other.images or own.data != other.data:
        common = len(set(own.images) & set(other.images))
        raise ValueError(
            f"these are evaluations of different images ({len(own.images)} and {len(other.images)}, {common} in both): "
            "their difference says nothing about the weights. Evaluate both on the same data."
        )
    if (own.settings, own.groups, own.task) != (other.settings, other.groups, other.task):
        raise ValueError("the two were not evaluated by the same settings and groups; evaluate both again.")
    own.require_metric(metric)
    if own.task == "classification":
        if own.labels != other.labels:
            raise ValueError("the two evaluations have different labels; their versions are of other classes.")
        found = paired_classification(
            own.probabilities, other.probabilities, own.labels, groups=own.groups, bins=own.bins, **own.bootstrap
        )
        return found[metric]
    return bootstrap_interval(own.column(metric) - other.column(metric), groups=own.groups, **own.bootstrap)
