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
from medssm_monai.handlers.evaluation_report import gather_lists
from medssm_monai.handlers.events import process_rank
from medssm_monai.metrics.predictions import class_probabilities
from medssm_monai.utils import keep_previous, writable_folder
from medssm_monai.utils.as_typed import as_typed
from medssm_monai.utils.whole_file import replace_file

__all__ = ["PredictionsCSV", "write_predictions"]

logger = logging.getLogger(__name__)


def write_predictions(
    path: str | os.PathLike[str],
    files: Sequence[str],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    labels: Sequence[int] | np.ndarray | None = None,
) -> None:
    """
    Write `image, [label,] class, confidence, [correct,] probability_<class>, ...` in one step.

    Args:
        path: the table; an existing one is replaced.
        files: one per row.
        probabilities: `(N, K)`.
        class_names: one per class.
        labels: class numbers `(N,)` where they are known; adds `label` and `correct` (1 or 0).
    """
    known = labels is not None
    columns = ["image", *(["label"] if known else []), "class", "confidence", *(["correct"] if known else [])]
    with replace_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*columns, *[f"probability_{name}" for name in class_names]])
        for row, (file, values) in enumerate(zip(files, probabilities, strict=True)):
            chosen = int(values.argmax())
            cells: dict[str, Any] = {"image": file, "class": class_names[chosen], "confidence": f"{values[chosen]:.6f}"}
            if known:
                cells |= {"label": class_names[labels[row]], "correct": int(chosen == labels[row])}
            writer.writerow([*[cells[column] for column in columns], *[f"{value:.6f}" for value in values]])


class PredictionsCSV:
    """
    Ignite handler for a MONAI evaluator without labels: one row per image with file, class, confidence and the
    probability of each class.

    Reads `pred` of each decollated item, the class probabilities `(K,)` after post-processing (softmax). The table is
    written when the evaluation is complete, in one step; an earlier table of that name is kept under another,
    `<stem>_<time of its last change>.csv`. Run distributed, all ranks' images are gathered (an image that a sampler
    repeated once) and rank 0 writes.

    Args:
        path: the table.
        class_names: names of the classes in the order of the network's outputs; `None` calls them `class_0`, ...

    Raises:
        ValueError: items that are no decollated dicts with `pred`, probabilities for another number of classes, or
            no probabilities at all (logits, NaN), naming the file.
        PermissionError: the folder is not writable (when the evaluation starts).
    """

    def __init__(self, path: str | os.PathLike[str], class_names: Sequence[str] | None = None) -> None:
        self.path = Path(as_typed(path, "predictions_file"))
        self.class_names = None if class_names is None else [str(name) for name in class_names]
        self._rows: list[tuple[str, np.ndarray]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _started(self, engine: Engine) -> None:
        self._rows = []
        if process_rank() == 0:
            writable_folder(self.path.parent)

    def _collect(self, engine: Engine) -> None:
        for item, source in decollated(engine, (CommonKeys.PRED,), type(self).__name__):
            self._add(item, source)

    def _add(self, item: Mapping[str, Any], source: Mapping[str, Any]) -> None:
        name = item_file(source) or item_file(item) or f"rank{process_rank()}_image{len(self._rows):05d}"
        pred = torch.as_tensor(item[CommonKeys.PRED]).detach().cpu().double()
        try:
            (values,) = class_probabilities(pred.reshape(1, -1), self.class_names)
        except ValueError as error:
            raise ValueError(f"cannot write the prediction of {name}: {error}") from error
        self._rows.append((name, values))

    def _finish(self, engine: Engine) -> None:
        (rows,) = gather_lists(self._rows)
        rows = dict(rows)
        if process_rank() > 0 or not rows:
            return
        probabilities = np.stack(list(rows.values()))
        names = self.class_names or [f"class_{number}" for number in range(probabilities.shape[1])]
        keep_previous(self.path)
        write_predictions(self.path, list(rows), probabilities, names)
        logger.info("predictions of %d images written to %s", len(rows), self.path)
