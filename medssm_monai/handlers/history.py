"""A table of losses and metrics per epoch, written after every epoch, and curves drawn from it."""

from __future__ import annotations

import csv
import logging
import operator
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import Trainer

from ..utils import keep_previous, writable_folder
from ..utils.files import replace_file
from ..utils.text_files import open_text
from .events import average_train_loss, on_failure, process_rank, scalars

__all__ = ["TrainingHistory", "read_history"]

logger = logging.getLogger(__name__)

_FIRST_COLUMNS = ("epoch", "seconds", "lr", "train_loss", "val_loss")


def read_history(path: str | os.PathLike[str]) -> list[dict[str, float]]:
    """Rows of a history table; empty cells (no validation in that epoch) are left out of their row."""
    with open(path, newline="", encoding="utf-8") as stream:
        return [{key: float(cell) for key, cell in row.items() if cell} for row in csv.DictReader(stream)]


class TrainingHistory:
    """Ignite handler that keeps ``history.csv`` and draws ``curves.png``. Attach **one** instance to the trainer and to
    its evaluator.

    One row per epoch: epoch, seconds since the start, learning rate, mean training loss, the trainer's metrics and
    those of a validation in that epoch. The whole table is replaced after each epoch in one step, so that an
    interruption leaves a readable file. The rows are part of a training's state (``state_dict``): a resumed training
    goes on with those of its checkpoint, or with the table in its folder where the checkpoint has none. A training that
    starts anew in the same folder keeps the old table under another name, ``history_<time of its last change>.csv``.
    The curves mark the best epoch of the whole table by the evaluator's key metric.

    Args:
        output_dir: folder for both files.
        filename: name of the table.
        curves: name of the picture drawn when training ends or fails; ``None`` draws none.
        metrics: names of the metrics drawn; ``None`` draws the key metric and five others.

    Raises:
        PermissionError: the folder is not writable (when training starts).
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        filename: str = "history.csv",
        curves: str | None = "curves.png",
        metrics: Sequence[str] | None = None,
    ) -> None:
        self.path = Path(output_dir) / filename
        self.curves = Path(output_dir) / curves if curves else None
        self.metrics = metrics
        self.rows: list[dict[str, Any]] = []
        self._validation: dict[str, float] = {}
        self._key_metric: str | None = None
        self._is_better: Callable[[float, float], bool] = operator.gt
        self._opened = False
        self._resumed = False
        self._start = 0.0

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer (writes) or to an evaluator (contributes its metrics)."""
        is_trainer = isinstance(engine, Trainer)
        if is_trainer:
            average_train_loss(engine)
        if process_rank() > 0:
            return
        engine.add_event_handler(Events.STARTED, self._started)
        if is_trainer:
            engine.add_event_handler(Events.EPOCH_STARTED, self._open)
            engine.add_event_handler(Events.COMPLETED, self._draw)
            on_failure(engine, self._failed)

    def _started(self, engine: Engine) -> None:
        """Take the last place among the handlers of an epoch: validation and metrics must be through."""
        is_trainer = isinstance(engine, Trainer)
        callback = self._epoch_completed if is_trainer else self._validated
        if not engine.has_event_handler(callback, Events.EPOCH_COMPLETED):
            engine.add_event_handler(Events.EPOCH_COMPLETED, callback)
        if is_trainer:
            seconds = self.rows[-1]["seconds"] if self._resumed and self.rows else 0.0
            self._opened, self._start = False, time.monotonic() - seconds

    def _open(self, engine: Engine) -> None:
        """At the first epoch: continue the table of a resumed training, or put an old one aside."""
        if self._opened:
            return
        self._opened = True
        writable_folder(self.path.parent)
        if self._resumed:
            self._resumed = False
            return
        self.rows = []
        if not self.path.exists():
            return
        if engine.state.epoch > 1:
            self.rows = [row for row in read_history(self.path) if row["epoch"] < engine.state.epoch]
            return
        keep_previous(self.path)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after these rows, when the trainer starts next."""
        self.rows, self._resumed = [dict(row) for row in state["rows"]], True

    def _validated(self, engine: Engine) -> None:
        self._validation = scalars(engine.state.metrics)
        self._key_metric = getattr(engine.state, "key_metric_name", None)
        self._is_better = getattr(engine, "metric_cmp_fn", self._is_better)

    def _epoch_completed(self, engine: Engine) -> None:
        row: dict[str, Any] = {"epoch": engine.state.epoch, "seconds": round(time.monotonic() - self._start, 2)}
        optimizer = getattr(engine, "optimizer", None)
        if optimizer is not None:
            row["lr"] = optimizer.param_groups[0]["lr"]
        self.rows.append(row | scalars(engine.state.metrics) | self._validation)
        self._validation = {}
        self._write()

    def _write(self) -> None:
        seen = {key: None for row in self.rows for key in row}
        columns = [key for key in _FIRST_COLUMNS if key in seen] + [key for key in seen if key not in _FIRST_COLUMNS]
        with replace_file(self.path) as temporary, open_text(temporary) as stream:
            writer = csv.DictWriter(stream, columns, restval="")
            writer.writeheader()
            writer.writerows({**row, "epoch": int(row["epoch"])} for row in self.rows)

    def _draw(self, engine: Engine) -> None:
        if self.curves is None or not self.rows:
            return
        from ..visualize.curves import best_epoch, plot_curves

        key = self._key_metric
        best = None if key is None else best_epoch(self.rows, key, self._is_better)
        with replace_file(self.curves) as temporary:
            plot_curves(self.rows, temporary, self.metrics, key, best, title=self.curves.parent.name)

    def _failed(self, engine: Engine, error: BaseException) -> None:
        self._draw(engine)
