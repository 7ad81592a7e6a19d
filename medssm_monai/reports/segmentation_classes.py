"""The evaluation of a segmentation by classes, in 2D or 3D: what is kept of an image, the figures, the files."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..metrics.bootstrap import bootstrap_weighted
from ..metrics.class_overlap import ABSENT_CLASSES, CLASS_OVERLAP, overlap_of_class
from ..utils.files import replace_file
from ..utils.shown_names import shown_name
from ..utils.text_files import markdown_text, name_cell, open_text
from .page import (
    format_interval,
    format_number,
)
from .sanity import Floors, segmentation_warnings
from .segmentation_page import write_segmentation_page
from .summary import Resampling, common_groups, score_table

__all__ = [
    "ClassesRecord",
    "class_facts",
    "class_warnings",
    "summarize_classes",
    "write_classes_per_image",
    "write_classes_report",
]

_COUNTS = ("tp", "fp", "fn", "tn")
_SIZES = {2: ("height", "width"), 3: ("size_x", "size_y", "size_z")}


@dataclass
class ClassesRecord:
    """What is kept of one image.

    Attributes:
        name: its file.
        size: of the label, ``(H, W)`` or ``(X, Y, Z)``.
        scores: class to metric to value, NaN where undefined.
        counts: TP, FP, FN, TN of each class ``(K, 4)``.
        ranges: smallest and largest probability of each class.
        units: of distances and of volumes.
        group: patient or sequence.
        subset: test set.
    """

    name: str
    size: tuple[int, ...]
    scores: dict[str, dict[str, float]]
    counts: np.ndarray
    ranges: list[tuple[float, float]]
    units: tuple[str, str]
    group: str | None = None
    subset: str | None = None

    @property
    def means(self) -> dict[str, float]:
        """Each metric's mean over the classes that have it; NaN where none has."""
        rows = list(self.scores.values())
        return {name: _mean(np.array([row[name] for row in rows])) for name in rows[0]}


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


@dataclass
class _OneClass:
    """A class of a record as ``segmentation_warnings`` takes it."""

    counts: np.ndarray
    probability_range: tuple[float, float]


def summarize_classes(
    records: Sequence[ClassesRecord],
    exclusive: bool,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures per image as means over its classes, and per class over the images that count for it.

    Args:
        records: one per image, of the same classes, metrics and units. When every record has a ``group``, whole groups
            are resampled; records of several ``subset`` names give the same figures for each.
        exclusive: whether a voxel belongs to one class at most; decides on the floor.
        n_resamples, confidence, seed: of the bootstrap.

    Returns:
        a dict that JSON can hold: ``images``, ``image_sizes``, ``per_image``, ``classes`` (metric to mean, interval,
        SD, median, images; ``present`` in so many labels, ``predicted_only`` and ``missed`` in so many images,
        ``counts`` and scores ``pooled`` over all images), ``floors``, ``bootstrap``, ``distance_unit``,
        ``volume_unit``, ``absent_classes`` (the convention), and ``subsets`` where there are several.

    Raises:
        ValueError: no records, or records in different units.
    """
    if not records:
        raise ValueError("no images were evaluated, there is nothing to summarize; check the data list.")
    other = next((record for record in records if record.units != records[0].units), None)
    if other is not None:
        raise ValueError(
            f"{records[0].name} is measured in {' and '.join(records[0].units)}, {other.name} in "
            f"{' and '.join(other.units)}; evaluate pictures and volumes, and files with and without spacing, apart."
        )
    groups = common_groups(records)
    bootstrap: Resampling = {"n_resamples": n_resamples, "confidence": confidence, "seed": seed}
    sizes: dict[str, int] = {}
    for record in records:
        text = " x ".join(map(str, record.size))
        sizes[text] = sizes.get(text, 0) + 1
    summary: dict[str, Any] = {
        "images": len(records),
        "image_sizes": sizes,
        "per_image": score_table([record.means for record in records], bootstrap, groups),
        "classes": {
            name: _class_summary(records, number, bootstrap, groups) for number, name in enumerate(records[0].scores)
        },
        "floors": _floors(records, exclusive, bootstrap, groups),
        "bootstrap": {**bootstrap, "method": "percentile", "unit": "image" if groups is None else "group"},
        "distance_unit": records[0].units[0],
        "volume_unit": records[0].units[1],
        "absent_classes": ABSENT_CLASSES,
    }
    if groups is not None:
        summary["groups"] = len(set(groups))
    names = sorted({record.subset for record in records if record.subset is not None})
    if len(names) > 1:
        parts = {name: [replace(r, subset=None) for r in records if r.subset == name] for name in names}
        summary["subsets"] = {name: summarize_classes(part, exclusive, **bootstrap) for name, part in parts.items()}
    return summary


def _class_summary(
    records: Sequence[ClassesRecord], number: int, bootstrap: Resampling, groups: Sequence | None
) -> dict[str, Any]:
    name = list(records[0].scores)[number]
    counts = np.stack([record.counts[number] for record in records])
    labeled, predicted = counts[:, 0] + counts[:, 2] > 0, counts[:, 0] + counts[:, 1] > 0
    pooled = bootstrap_weighted(
        lambda weights: overlap_of_class(weights @ counts), len(counts), groups=groups, **bootstrap
    )
    return {
        **score_table([record.scores[name] for record in records], bootstrap, groups),
        "present": int(labeled.sum()),
        "predicted_only": int((predicted & ~labeled).sum()),
        "missed": int((labeled & ~predicted).sum()),
        "counts": dict(zip(_COUNTS, counts.sum(axis=0).tolist(), strict=True)),
        "pooled": {metric: {"value": i.estimate, "low": i.low, "high": i.high} for metric, i in pooled.items()},
    }


def _floors(
    records: Sequence[ClassesRecord], exclusive: bool, bootstrap: Resampling, groups: Sequence | None
) -> Floors:
    """Dice and IoU of masks that hold one class everywhere: the largest of all labels where classes exclude each other,
    else every class.

    Masks that are all background have no place here: they score 0 wherever a label has anything, by convention.
    """
    counts = np.stack([record.counts for record in records])  # (images, K, 4)
    labeled, total = counts[..., 0] + counts[..., 2], counts.sum(axis=-1)
    none = np.zeros_like(labeled)
    full = np.stack([labeled, total - labeled, none, none], axis=-1)
    largest = int(labeled.sum(axis=0).argmax())
    if exclusive:
        empty = np.stack([none, none, labeled, total - labeled], axis=-1)
        full = np.where(np.arange(labeled.shape[1])[:, None] == largest, full, empty)
    scores = overlap_of_class(full)
    each = [{metric: _mean(scores[metric][row]) for metric in ("dice", "iou")} for row in range(len(records))]
    kind = f"{list(records[0].scores)[largest]} everywhere" if exclusive else "all foreground"
    return {
        kind: {
            metric: {"value": figure["mean"], "low": figure["low"], "high": figure["high"]}
            for metric, figure in score_table(each, bootstrap, groups).items()
        }
    }


def class_warnings(records: Sequence[ClassesRecord]) -> tuple[list[str], list[str]]:
    """Sentences about the data, classes that no label has, and about what the network gives for each other class."""
    of_data, of_output = [], []
    for number, name in enumerate(records[0].scores):
        ones = [_OneClass(record.counts[number], record.ranges[number]) for record in records]
        if not any(one.counts[0] + one.counts[2] for one in ones):
            of_data.append(f"{name} is in no label: its figures say only where it was predicted")
        else:
            of_output += [f"{name}: {said}" for said in segmentation_warnings(ones)]
    return of_data, of_output


def write_classes_per_image(records: Sequence[ClassesRecord], path: Path) -> None:
    """Table with one row per image, in the order of the data: means over classes, then scores and counts of each class;
    undefined scores are empty cells."""
    extra = [column for column in ("subset", "group") if any(getattr(record, column) for record in records)]
    classes, means = list(records[0].scores), list(records[0].means)
    sizes = _SIZES[len(records[0].size)]
    columns = ["image", *extra, *sizes, *means]
    for name in classes:
        columns += [f"{metric}_{name}" for metric in (*means, *_COUNTS)]
    with replace_file(path) as temporary, open_text(temporary) as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for record in records:
            cells = [_cell(value) for value in record.means.values()]
            for number, name in enumerate(classes):
                cells += [*map(_cell, record.scores[name].values()), *map(str, record.counts[number].tolist())]
            names = [name_cell(getattr(record, column) or "") for column in extra]
            writer.writerow([name_cell(shown_name(record.name)), *names, *record.size, *cells])


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def _tables(summary: dict[str, Any]) -> list[str]:
    percent = f"{summary['bootstrap']['confidence']:.0%}"
    metrics = list(summary["per_image"])
    titles = [f"{name} ({summary['volume_unit']})" if name == "volume_difference" else name for name in metrics]
    titles = [f"{name} ({summary['distance_unit']})" if name == "hd95" else name for name in titles]
    head = f"| mean over images ({percent} interval) | {' | '.join(titles)} | in labels | predicted only | missed |"
    lines = [head, "|---" * (len(metrics) + 4) + "|"]
    for name, entry in summary["classes"].items():
        figures = [_figure(entry[metric], "mean") for metric in metrics]
        numbers = [str(entry[key]) for key in ("present", "predicted_only", "missed")]
        lines.append(f"| {markdown_text(name)} | {' | '.join([*figures, *numbers])} |")
    if len(summary["classes"]) > 1:
        figures = [_figure(summary["per_image"][metric], "mean") for metric in metrics]
        lines.append(f"| **mean of an image's classes** | {' | '.join(figures)} | | | |")
    lines += ["", f"| pooled over all images ({percent} interval) | {' | '.join(CLASS_OVERLAP)} |"]
    lines.append("|---" * (len(CLASS_OVERLAP) + 1) + "|")
    for name, entry in summary["classes"].items():
        figures = [_figure(entry["pooled"][metric], "value") for metric in CLASS_OVERLAP]
        lines.append(f"| {markdown_text(name)} | {' | '.join(figures)} |")
    return lines


def _figure(entry: dict[str, float], key: str) -> str:
    interval = "" if math.isnan(entry["low"]) else f" ({format_interval(entry)})"
    return f"{format_number(entry[key])}{interval}"


def class_facts(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the figures mean."""
    facts = {
        "Prediction": "the most probable class"
        if summary["threshold"] is None
        else f"a class holds from a probability of {summary['threshold']:g}",
        "Distances in": summary["distance_unit"],
        "Volumes in": summary["volume_unit"],
    }
    if "surface_dice" in summary["per_image"]:
        facts["Tolerance of surface Dice"] = f"{summary['tolerance']:g} {summary['distance_unit']}"
    if "lesion_f1" in summary["per_image"]:
        facts["Lesions"] = "connected components, corners connect; found where the prediction overlaps them at all"
    return facts


def write_classes_report(summary: dict[str, Any], path: Path) -> None:
    """The summary as a Markdown page."""
    said = [f"Absent classes: {summary['absent_classes']}.", ""]
    write_segmentation_page(summary, path, _tables, class_facts(summary), said)
