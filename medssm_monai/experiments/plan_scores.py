"""What evaluations say image by image, read again for comparisons."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..metrics.hierarchical import Statistics, classification_statistics, mean_statistics
from ..utils.group_pattern import group_in
from ..utils.text_files import name_cell

__all__ = ["FUSED", "Scores", "read_scores"]

FUSED = "fused"
Table = list[dict[str, str]]


@dataclass(frozen=True)
class Scores:
    """Figures of one evaluation as functions of how often an image counts.

    Attributes:
        images: names, in the order of the data.
        groups: sequence or patient of each image, where known.
        statistics: by row: ``"fused"`` is the network (of every task); the others are a fusion's average, maximum and
            copies.
    """

    images: tuple[str, ...]
    groups: tuple[str, ...] | None
    statistics: dict[str, Statistics]


def read_scores(folders: Path | Sequence[Path], metrics: tuple[str, ...], group: str | None = None) -> Scores:
    """Read ``per_image.csv`` (segmentation or classification) or ``per_pair.csv`` (fusion) of an evaluation, or of the
    folds of a cross-validation, which are put together to one.

    Args:
        folders: of the evaluation, with its ``summary.json``; or of all folds.
        metrics: which figures.
        group: expression whose first bracket (or whole match) in an image's name is its group; None takes the column
            ``group`` where the table has one.

    Raises:
        FileNotFoundError: no such table.
        ValueError: a metric that the table does not give by image, names that ``group`` does not fit, or images that
            are in two folds.
    """
    several = [folders] if isinstance(folders, Path) else list(folders)
    summary = json.loads((several[0] / "summary.json").read_text(encoding="utf8"))
    fusion = (several[0] / "per_pair.csv").is_file()
    table: Table = []
    for folder in several:
        with (folder / ("per_pair.csv" if fusion else "per_image.csv")).open(encoding="utf8", newline="") as stream:
            table += csv.DictReader(stream)
    if fusion:
        by_row: dict[str, Table] = {}
        for line in table:
            by_row.setdefault(line["row"], []).append(line)
        table = by_row[FUSED]
        statistics = {row: mean_statistics(_columns(lines, metrics)) for row, lines in by_row.items()}
    elif "class_names" in summary:
        statistics = {FUSED: _of_classes(table, summary["class_names"])}
    else:
        statistics = {FUSED: mean_statistics(_columns(table, metrics))}
    images = tuple(line["image"] for line in table)
    twice = [name for name, count in Counter(images).items() if count > 1]
    if len(several) > 1 and twice:
        raise ValueError(f"{len(twice)} image(s) are in two folds, {', '.join(twice[:3])}")
    return Scores(images, _groups(table, group), statistics)


def _columns(table: Table, metrics: tuple[str, ...]) -> dict[str, list[float]]:
    missing = [metric for metric in metrics if metric not in table[0]]
    if missing:
        raise ValueError(f"the evaluation has no {', '.join(missing)} by image, only {', '.join(table[0])}")
    return {metric: [float(line[metric] or "nan") for line in table] for metric in metrics}


def _of_classes(table: Table, names: list[str]) -> Statistics:
    numbers = {name_cell(name): number for number, name in enumerate(names)}
    probabilities = [[float(line[f"probability_{name}"]) for name in names] for line in table]
    return classification_statistics(probabilities, [numbers[line["label"]] for line in table])


def _groups(table: Table, pattern: str | None) -> tuple[str, ...] | None:
    if pattern is None:
        groups = tuple(line.get("group") or "" for line in table)
        return groups if all(groups) else None
    found = []
    for line in table:
        group = group_in(Path(line["image"]).name, pattern)
        if group is None:
            raise ValueError(f"group {pattern!r} fits no part of the image's name {line['image']!r}")
        found.append(group)
    return tuple(found)
