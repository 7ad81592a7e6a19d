"""Predictions of a classification as a table, one row per image."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..metrics.conformal import PredictionSets
from ..transforms.unlike_training import UNLIKE_TRAINING
from ..utils.files import replace_file
from ..utils.text_files import name_cell, open_text

__all__ = ["prediction_row", "write_predictions"]

logger = logging.getLogger(__name__)
BETWEEN = " | "  # the classes of a set


def write_predictions(
    path: str | os.PathLike[str],
    files: Sequence[str],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    labels: Sequence[int] | np.ndarray | None = None,
    weights: str | None = None,
    groups: Sequence[str] | None = None,
    unlike: Sequence[str] | None = None,
    sets: PredictionSets | None = None,
) -> None:
    """Write ``image, [group,] [label,] class, confidence, [correct,] probability_<class>, ..., [prediction_set,
    set_size,] [unlike_training,] [weights]`` in one step.

    Args:
        path: the table; an existing one is replaced.
        files: one per row.
        probabilities: ``(N, K)``.
        class_names: one per class.
        labels: class numbers ``(N,)`` where they are known; adds ``label`` and ``correct`` (1 or 0).
        weights: what the predictions were made with, the same in each row.
        groups: patient or lesion of each row, where they are known.
        unlike: in which respects each image is unlike the training images, empty where in none.
        sets: adds the classes that each image may have, and how many these are.
    """
    with replace_file(path) as temporary, open_text(temporary) as stream:
        writer = csv.writer(stream)
        for number, (file, values) in enumerate(zip(files, probabilities, strict=True)):
            label = None if labels is None else int(labels[number])
            flag = None if unlike is None else unlike[number]
            row = prediction_row(file, values, class_names, label, weights, flag, sets)
            if groups is not None:
                row = {"image": row.pop("image"), "group": name_cell(groups[number]), **row}
            if number == 0:
                writer.writerow(row)
            writer.writerow(row.values())


def prediction_row(
    file: str,
    values: np.ndarray,
    class_names: Sequence[str],
    label: int | None = None,
    weights: str | None = None,
    unlike: str | None = None,
    sets: PredictionSets | None = None,
) -> dict[str, Any]:
    """One row of the table, with the columns as keys."""
    chosen = int(values.argmax())
    row: dict[str, Any] = {"image": name_cell(file)}
    if label is not None:
        row["label"] = name_cell(class_names[label])
    row |= {"class": name_cell(class_names[chosen]), "confidence": f"{values[chosen]:.6f}"}
    if label is not None:
        row["correct"] = int(chosen == label)
    row |= {f"probability_{name}": f"{value:.6f}" for name, value in zip(class_names, values, strict=True)}
    if sets is not None:
        members = sets.names(values, class_names)
        row |= {"prediction_set": name_cell(BETWEEN.join(members)), "set_size": len(members)}
    if unlike is not None:
        row[UNLIKE_TRAINING] = name_cell(unlike)
    return row if weights is None else {**row, "weights": name_cell(weights)}
