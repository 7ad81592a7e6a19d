"""The evaluation of a segmentation: what is kept of an image, the figures of the data set, the files."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..metrics import bootstrap_pooled
from ..metrics.polyp import THRESHOLDS
from ..utils.files import replace_file
from ..utils.shown_names import shown_name
from ..utils.text_files import name_cell, open_text
from .page import (
    format_interval,
    format_number,
)
from .sanity import segmentation_floors
from .segmentation_page import write_segmentation_page
from .summary import Resampling, common_groups, score_table

__all__ = ["ImageRecord", "segmentation_facts", "summarize", "write_per_image", "write_report"]


@dataclass
class ImageRecord:
    """What is kept of one image: scores, pixel counts (TP, FP, FN, TN), its smallest and largest probability and, if
    asked for, the E-measure curve."""

    name: str
    size: tuple[int, int]
    scores: dict[str, float]
    counts: np.ndarray
    probability_range: tuple[float, float]
    e_curve: np.ndarray | None = None
    group: str | None = None
    subset: str | None = None


def _data_set_curve(records: Sequence[ImageRecord]) -> dict[str, float]:
    """The "max E-measure" of published tables: the maximum over thresholds of the curve averaged over the images."""
    curves = [record.e_curve for record in records if record.e_curve is not None]
    if not curves:
        return {}
    curve = np.mean(curves, axis=0)
    return {"e_measure_max": float(curve.max()), "at_threshold": float(THRESHOLDS[curve.argmax()])}


def summarize(
    records: Sequence[ImageRecord], n_resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """Mean, SD, median and bootstrap interval per metric, and the scores pooled over all pixels.

    Args:
        records: one per image. When every record has a ``group``, whole groups are resampled. When records carry
            different ``subset`` names (several test sets at once), each set gets the same figures of its own.
        n_resamples, confidence, seed: of the bootstrap.

    Returns:
        a dict that JSON can hold: ``images``, ``image_sizes``, ``per_image``, ``pooled``, ``data_set_curve``,
        ``floors``, ``bootstrap``, and ``subsets`` where there are several.

    Raises:
        ValueError: no records.
    """
    if not records:
        raise ValueError("no images were evaluated, there is nothing to summarize; check the data list.")
    groups = common_groups(records)
    bootstrap: Resampling = {"n_resamples": n_resamples, "confidence": confidence, "seed": seed}
    pooled = bootstrap_pooled(np.stack([record.counts for record in records]), groups=groups, **bootstrap)
    sizes: dict[str, int] = {}
    for record in records:
        text = f"{record.size[0]} x {record.size[1]}"
        sizes[text] = sizes.get(text, 0) + 1
    summary: dict[str, Any] = {
        "images": len(records),
        "image_sizes": sizes,
        "per_image": score_table([record.scores for record in records], bootstrap, groups),
        "pooled": {name: {"value": i.estimate, "low": i.low, "high": i.high} for name, i in pooled.items()},
        "data_set_curve": _data_set_curve(records),
        "floors": segmentation_floors(records, bootstrap, groups),
        "bootstrap": {**bootstrap, "method": "percentile", "unit": "image" if groups is None else "group"},
    }
    if groups is not None:
        summary["groups"] = len(set(groups))
    names = sorted({record.subset for record in records if record.subset is not None})
    if len(names) > 1:
        parts = {name: [record for record in records if record.subset == name] for name in names}
        summary["subsets"] = {
            name: summarize([_without_subset(record) for record in part], **bootstrap) for name, part in parts.items()
        }
    return summary


def _without_subset(record: ImageRecord) -> ImageRecord:
    return replace(record, subset=None)


_COUNT_COLUMNS = ("tp", "fp", "fn", "tn")


def write_per_image(records: Sequence[ImageRecord], path: Path) -> None:
    """Table with one row per image, in the order of the data; undefined scores are empty cells."""
    extra = [column for column in ("subset", "group") if any(getattr(record, column) for record in records)]
    columns = ["image", *extra, "height", "width", *records[0].scores, *_COUNT_COLUMNS]
    with replace_file(path) as temporary, open_text(temporary) as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for record in records:
            scores = ["" if math.isnan(value) else f"{value:.6f}" for value in record.scores.values()]
            names = [name_cell(getattr(record, column) or "") for column in extra]
            writer.writerow(
                [name_cell(shown_name(record.name)), *names, *record.size, *scores, *record.counts.tolist()]
            )


def _tables(summary: dict[str, Any]) -> list[str]:
    percent = f"{summary['bootstrap']['confidence']:.0%}"
    lines = [f"| per image | mean | {percent} interval | SD | median | images |", "|---|---|---|---|---|---|"]
    for name, entry in summary["per_image"].items():
        figures = [
            format_number(entry["mean"]),
            format_interval(entry),
            format_number(entry["sd"]),
            format_number(entry["median"]),
        ]
        lines.append(f"| {name} | {' | '.join(figures)} | {entry['images']} |")
    lines += ["", f"| pooled over all pixels | value | {percent} interval |", "|---|---|---|"]
    lines += [
        f"| {name} | {format_number(e['value'])} | {format_interval(e)} |" for name, e in summary["pooled"].items()
    ]
    if summary["data_set_curve"]:
        curve = summary["data_set_curve"]
        lines += ["", f"Maximum of the data set's mean E-measure curve: {format_number(curve['e_measure_max'])}"]
        lines[-1] += f" at threshold {curve['at_threshold']:.3f}."
    return lines


def segmentation_facts(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the figures mean."""
    return {
        "Threshold": summary["threshold"],
        "Distances in": summary["distance_unit"],
        "Maps": "stretched to [0, 1] for the metrics over thresholds, S, E, weighted F and MAE"
        if summary["normalize"]
        else "as predicted",
    }


def write_report(summary: dict[str, Any], path: Path) -> None:
    """The summary as a Markdown page."""
    write_segmentation_page(summary, path, _tables, segmentation_facts(summary))
