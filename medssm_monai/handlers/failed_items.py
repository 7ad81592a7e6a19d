"""Which items of a bulk inference failed, as a table and at the end of the log."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ignite.engine import Events

from ..utils import writable_folder
from ..utils.errors import Failure
from ..utils.shown_names import shown_name, shown_text
from ..utils.text_files import GrowingTable, name_cell, printable

if TYPE_CHECKING:
    from ..engines import BulkEvaluator

__all__ = ["FailedItems", "NothingDoneError"]

logger = logging.getLogger(__name__)

SHOWN = 50


class NothingDoneError(RuntimeError):
    """Every item of a bulk inference failed; the message names them with their reasons."""


class FailedItems:
    """Ignite handler for a ``BulkEvaluator``: writes ``file, stage, reason`` of each item that fails, as it happens,
    and names them all when the run is complete. Put it last in the list, behind handlers that may find failures.

    The table of an earlier run is kept under a dated name when this run has its first result or failure. A run without
    failures leaves no table.

    Args:
        path: the table, usually ``failed.csv`` in the output folder.

    Raises:
        NothingDoneError: no item was done (when the run is complete).
        PermissionError: the folder is not writable (when the run starts).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._table = GrowingTable(path)

    def attach(self, engine: BulkEvaluator) -> None:
        """Attach to a bulk evaluator."""
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _started(self, engine: BulkEvaluator) -> None:
        writable_folder(self.path.parent)
        self._table.restart()

    def _write(self, engine: BulkEvaluator) -> None:
        self._table.put_aside()
        for failure in map(_shown, engine.failures[self._table.rows :]):
            self._table.append(
                {"file": name_cell(failure.file), "stage": failure.stage, "reason": name_cell(failure.reason)}
            )

    def _finish(self, engine: BulkEvaluator) -> None:
        self._write(engine)
        if not engine.failures:
            return
        lines = [printable(f"  {_shown(failure)}") for failure in engine.failures[:SHOWN]]
        if len(engine.failures) > SHOWN:
            lines.append(f"  ... and {len(engine.failures) - SHOWN} more in the table")
        named = "\n".join([f"listed in {self.path}:", *lines])
        if engine.done < 1:
            raise NothingDoneError(f"nothing was done, {engine.seen} of {engine.seen} failed; {named}")
        logger.warning("%d of %d failed, the others are done; %s", engine.seen - engine.done, engine.seen, named)


def _shown(failure: Failure) -> Failure:
    return replace(failure, file=shown_name(failure.file), reason=shown_text(failure.reason))
