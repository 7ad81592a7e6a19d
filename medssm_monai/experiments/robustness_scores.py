"""Figures of one evaluation, and their paired differences to another evaluation of the same images."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..metrics import BootstrapInterval, bootstrap_interval, paired_classification
from ..reports.fusion import FUSED
from ..utils.text_files import name_cell
from .programs import RowError

__all__ = ["DEFAULT_METRICS", "compare", "figures", "read_summary", "read_table", "score_column"]

DEFAULT_METRICS = {
    "classification": ("accuracy", "roc_auc"),
    "segmentation": ("dice", "iou"),
    "fusion": ("ssim_mean", "qabf"),
}
TABLES = {"classification": "per_image.csv", "segmentation": "per_image.csv", "fusion": "per_pair.csv"}


def read_summary(folder: Path) -> dict[str, Any]:
    """``summary.json`` of an evaluation, with its ``task`` and ``figures`` (metric -> entry).

    Raises:
        RowError: no such file.
    """
    file = folder / "summary.json"
    if not file.is_file():
        raise RowError(f"the evaluation left no {file}")
    summary = json.loads(file.read_text(encoding="utf8"))
    if "rows" in summary:
        task, entries = "fusion", summary["rows"][FUSED]
    elif "per_image" in summary:
        task, entries = "segmentation", summary["per_image"]
    else:
        task, entries = "classification", summary["metrics"]
    return {**summary, "task": task, "figures": entries}


def figures(summary: dict[str, Any], metrics: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Value and interval of each metric; None where undefined.

    Raises:
        RowError: a metric that the evaluation does not have.
    """
    unknown = [metric for metric in metrics if metric not in summary["figures"]]
    if unknown:
        raise RowError(f"no metrics {', '.join(unknown)}, only {', '.join(summary['figures'])}")
    entries = {metric: summary["figures"][metric] for metric in metrics}
    return {
        metric: {"value": entry.get("value", entry.get("mean")), "low": entry["low"], "high": entry["high"]}
        for metric, entry in entries.items()
    }


def compare(folder: Path, clean: Path, metrics: Sequence[str]) -> dict[str, BootstrapInterval]:
    """Differences of an evaluation to that of the clean images, image by image, with paired bootstrap intervals.

    Args:
        folder, clean: of the two evaluations, with their summaries and tables; resamples, seed and groups are those of
            the report in ``clean``.
        metrics: of their summaries.

    Raises:
        RowError: the two are not of the same images.
    """
    summary = read_summary(clean)
    first, second = (read_table(place, summary["task"]) for place in (folder, clean))
    if [row["image"] for row in first] != [row["image"] for row in second]:
        raise RowError(f"{folder} and {clean} are not evaluations of the same images in the same order")
    bootstrap = {key: summary["bootstrap"][key] for key in ("n_resamples", "confidence", "seed")}
    groups = [row["group"] for row in second] if summary["bootstrap"]["unit"] == "group" else None
    if summary["task"] == "classification":
        names = summary["class_names"]
        numbers = {name_cell(name): number for number, name in enumerate(names)}
        labels = [numbers[row["label"]] for row in second]
        own, other = (
            np.array([[float(row[f"probability_{name}"]) for name in names] for row in rows])
            for rows in (first, second)
        )
        bins = summary["calibration_bins"]
        found = paired_classification(own, other, labels, groups=groups, bins=bins, **bootstrap)
        return {metric: found[metric] for metric in metrics}
    columns = {metric: [score_column(rows, metric) for rows in (first, second)] for metric in metrics}
    return {
        metric: bootstrap_interval(own - other, groups=groups, **bootstrap) for metric, (own, other) in columns.items()
    }


def read_table(folder: Path, task: str) -> list[dict[str, str]]:
    """Rows of an evaluation's table by image or pair, those of the network alone."""
    with (folder / TABLES[task]).open(newline="", encoding="utf8") as stream:
        rows = list(csv.DictReader(stream))
    return [row for row in rows if row["row"] == FUSED] if task == "fusion" else rows


def score_column(rows: Sequence[dict[str, str]], metric: str) -> np.ndarray:
    """A metric of each image; NaN where it is undefined."""
    return np.array([float(row[metric]) if row[metric] else np.nan for row in rows])
