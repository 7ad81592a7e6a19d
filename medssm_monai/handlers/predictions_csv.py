"""Predictions of a classification as a table, one row per image."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys

from medssm_monai.handlers.batch_files import decollated, item_file
from medssm_monai.handlers.bulk_items import item_stage
from medssm_monai.handlers.evaluation_report import gather_lists
from medssm_monai.handlers.events import process_rank, world_size
from medssm_monai.metrics.predictions import class_probabilities
from medssm_monai.utils import writable_folder
from medssm_monai.utils.growing_table import GrowingTable
from medssm_monai.utils.shown_names import shown_name
from medssm_monai.utils.text_files import name_cell, open_text
from medssm_monai.utils.typed_option import typed_option
from medssm_monai.utils.whole_file import replace_file

__all__ = ["PredictionsCSV", "write_predictions"]

logger = logging.getLogger(__name__)


def write_predictions(
    path: str | os.PathLike[str],
    files: Sequence[str],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    labels: Sequence[int] | np.ndarray | None = None,
    weights: str | None = None,
) -> None:
    """
    Write `image, [label,] class, confidence, [correct,] probability_<class>, ..., [weights]` in one step.

    Args:
        path: the table; an existing one is replaced.
        files: one per row.
        probabilities: `(N, K)`.
        class_names: one per class.
        labels: class numbers `(N,)` where they are known; adds `label` and `correct` (1 or 0).
        weights: what the predictions were made with, the same in each row.
    """
    with replace_file(path) as temporary, open_text(temporary) as stream:
        writer = csv.writer(stream)
        for number, (file, values) in enumerate(zip(files, probabilities, strict=True)):
            row = _row(file, values, class_names, None if labels is None else int(labels[number]), weights)
            if number == 0:
                writer.writerow(row)
            writer.writerow(row.values())


def _row(
    file: str, values: np.ndarray, class_names: Sequence[str], label: int | None = None, weights: str | None = None
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
    return row if weights is None else {**row, "weights": name_cell(weights)}


class PredictionsCSV:
    """
    Ignite handler for a MONAI evaluator without labels: one row per image with file, class, confidence and the
    probability of each class.

    Reads `pred` of each decollated item, the class probabilities `(K,)` after post-processing (softmax). Each row is
    written as soon as it is known, so that a run that is killed leaves a readable table of what it did; an earlier
    table of that name is kept under another, `<stem>_<time of its last change>.csv`, when the first row is there. An
    image that comes twice has one row. Run distributed, all ranks' images are gathered and rank 0 writes the table
    when the evaluation is complete.

    Args:
        path: the table.
        class_names: names of the classes in the order of the network's outputs; `None` calls them `class_0`, ...
        weights: what the predictions are made with; adds a column `weights` with this text.

    Raises:
        ValueError: two classes of one name (at once); items that are no decollated dicts with `pred`; probabilities
            for another number of classes, or none at all (logits, NaN), naming the file, which a `BulkEvaluator`
            records and goes on.
        PermissionError: the folder is not writable (when the evaluation starts).
    """

    def __init__(
        self, path: str | os.PathLike[str], class_names: Sequence[str] | None = None, weights: str | None = None
    ) -> None:
        self.path = Path(typed_option(path, "predictions_file"))
        self.class_names = None if class_names is None else [str(name) for name in class_names]
        if self.class_names is not None and len(set(self.class_names)) < len(self.class_names):
            raise ValueError(f"class_names must be different names, got {self.class_names}.")
        self.weights = weights
        self._table = GrowingTable(self.path)
        self._rows: dict[str, np.ndarray] = {}

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _started(self, engine: Engine) -> None:
        self._rows = {}
        self._table.restart()
        if process_rank() == 0:
            writable_folder(self.path.parent)

    def _collect(self, engine: Engine) -> None:
        for item, source in decollated(engine, (CommonKeys.PRED,), type(self).__name__):
            name = item_file(source) or item_file(item) or f"rank{process_rank()}_image{len(self._rows):05d}"
            with item_stage(engine, name, "result"):
                self._add(name, item)

    def _add(self, name: str, item: Mapping[str, Any]) -> None:
        pred = torch.as_tensor(item[CommonKeys.PRED]).detach().cpu().double()
        try:
            (values,) = class_probabilities(pred.reshape(1, -1), self.class_names)
        except ValueError as error:
            raise ValueError(f"cannot write the prediction of {name}: {error}") from error
        if name not in self._rows and world_size() == 1:
            self._append(name, values)
        self._rows[name] = values

    def _append(self, name: str, values: np.ndarray) -> None:
        names = self.class_names or [f"class_{number}" for number in range(len(values))]
        self._table.append(_row(shown_name(name), values, names, weights=self.weights))

    def _finish(self, engine: Engine) -> None:
        if world_size() > 1:
            (rows,) = gather_lists(list(self._rows.items()))
            if process_rank() == 0:
                for name, values in dict(rows).items():
                    self._append(name, values)
        if self._table.rows:
            logger.info("predictions of %d images written to %s", self._table.rows, self.path)
