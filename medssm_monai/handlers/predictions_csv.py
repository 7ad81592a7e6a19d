"""The table of a classification's predictions, written while they are made."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys

from ..engines.batch_items import decollated, item_file, item_stage
from ..metrics.conformal import PredictionSets
from ..metrics.predictions import class_probabilities
from ..reports.predictions_table import prediction_row
from ..transforms.unlike_training import UNLIKE_TRAINING
from ..utils import writable_folder
from ..utils.command_line import typed_option
from ..utils.shown_names import shown_name
from ..utils.text_files import GrowingTable
from .evaluation_report import gather_lists
from .events import process_rank, world_size

__all__ = ["PredictionsCSV"]

logger = logging.getLogger(__name__)


class PredictionsCSV:
    """Ignite handler for a MONAI evaluator without labels: one row per image with file, class, confidence and the
    probability of each class.

    Reads ``pred`` of each decollated item, the class probabilities ``(K,)`` after post-processing (softmax). Each row
    is written as soon as it is known, so that a run that is killed leaves a readable table of what it did; an earlier
    table of that name is kept under another, ``<stem>_<time of its last change>.csv``, when the first row is there. An
    image that comes twice has one row. Items with the entry ``unlike_training``
    (:class:`~medssm_monai.transforms.FlagUnlikeTrainingd`) give a column of that name, empty for images like those
    that the weights were trained with. Run distributed, all ranks' images are gathered and rank 0 writes the table
    when the evaluation is complete.

    Args:
        path: the table.
        class_names: names of the classes in the order of the network's outputs; ``None`` calls them ``class_0``, ...
        weights: what the predictions are made with; adds a column ``weights`` with this text.
        conformal: calibrated threshold of prediction sets (:func:`medssm_monai.bundle.read_conformal`); adds the
            columns ``prediction_set``, the classes that the image may have at the calibrated coverage, and
            ``set_size``. ``None`` adds none.

    Raises:
        ValueError: two classes of one name, a threshold for another number of classes (at once); items that are no
            decollated dicts with ``pred``; probabilities for another number of classes, or none at all (logits, NaN),
            naming the file, which a ``BulkEvaluator`` records and goes on.
        PermissionError: the folder is not writable (when the evaluation starts).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        class_names: Sequence[str] | None = None,
        weights: str | None = None,
        conformal: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(typed_option(path, "predictions_file"))
        self.class_names = None if class_names is None else [str(name) for name in class_names]
        if self.class_names is not None and len(set(self.class_names)) < len(self.class_names):
            raise ValueError(f"class_names must be different names, got {self.class_names}.")
        self.weights = weights
        names = self.class_names or ([] if conformal is None else range(conformal.get("classes", 0)))
        self.sets = None if conformal is None else PredictionSets.of(conformal, [str(name) for name in names])
        self._sizes: Counter[int] = Counter()
        self._table = GrowingTable(self.path)
        self._rows: dict[str, tuple[np.ndarray, str | None]] = {}

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _started(self, engine: Engine) -> None:
        self._rows = {}
        self._sizes.clear()
        self._table.restart()
        if process_rank() == 0:
            writable_folder(self.path.parent)

    def _collect(self, engine: Engine) -> None:
        for item, source in decollated(engine, (CommonKeys.PRED,), type(self).__name__):
            name = item_file(source) or item_file(item) or f"rank{process_rank()}_image{len(self._rows):05d}"
            with item_stage(engine, name, "result"):
                self._add(name, item, {**source, **item}.get(UNLIKE_TRAINING))

    def _add(self, name: str, item: Mapping[str, Any], unlike: str | None) -> None:
        pred = torch.as_tensor(item[CommonKeys.PRED]).detach().cpu().double()
        try:
            (values,) = class_probabilities(pred.reshape(1, -1), self.class_names)
        except ValueError as error:
            raise ValueError(f"cannot write the prediction of {name}: {error}") from error
        if name not in self._rows and world_size() == 1:
            self._append(name, values, unlike)
        self._rows[name] = values, unlike

    def _append(self, name: str, values: np.ndarray, unlike: str | None) -> None:
        names = self.class_names or [f"class_{number}" for number in range(len(values))]
        row = prediction_row(shown_name(name), values, names, weights=self.weights, unlike=unlike, sets=self.sets)
        self._sizes.update([row["set_size"]] if self.sets is not None else [])
        self._table.append(row)

    def _finish(self, engine: Engine) -> None:
        if world_size() > 1:
            (rows,) = gather_lists(list(self._rows.items()))
            if process_rank() == 0:
                for name, found in dict(rows).items():
                    self._append(name, *found)
        if self._table.rows:
            logger.info("predictions of %d images written to %s", self._table.rows, self.path)
        if self.sets is not None and self._table.rows:
            logger.info(
                "prediction sets at a coverage of %g: %d images with one class, %d with several, %d with none",
                *(self.sets.level, self._sizes[1], sum(self._sizes.values()) - self._sizes[0] - self._sizes[1]),
                self._sizes[0],
            )
