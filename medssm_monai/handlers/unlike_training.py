"""How many images of an inference are unlike those that its weights were trained with."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from ..data.fingerprint import NOT_RECORDED, flag_reasons
from ..engines.batch_items import decollated, item_file, item_stage
from ..transforms.unlike_training import UNLIKE_TRAINING
from ..utils import writable_folder
from ..utils.shown_names import shown_name
from ..utils.text_files import GrowingTable, name_cell

__all__ = ["UnlikeTraining"]

logger = logging.getLogger(__name__)


class UnlikeTraining:
    """Ignite handler for an evaluator without labels: says once what the weights were trained for, and at the end how
    many images are unlike their training images, and in which respects.

    Reads the entry ``unlike_training`` of each item, which
    :class:`~medssm_monai.transforms.FlagUnlikeTrainingd` writes.

    Args:
        domain: what :func:`medssm_monai.bundle.read_domain` gives.
        path: table ``image, unlike_training`` of the images that are unlike, written as they come, for outputs without
            a table of their own; none where there are none. An earlier one is kept under a dated name. ``None``
            writes none.

    Raises:
        ValueError: items that no ``FlagUnlikeTrainingd`` has seen.
        PermissionError: the folder is not writable (when the evaluation starts).
    """

    def __init__(self, domain: Mapping[str, Any] | None, path: str | os.PathLike[str] | None = None) -> None:
        self.trained_for = NOT_RECORDED if domain is None else str(domain["text"])
        self.recorded = domain is not None
        self._table = None if path is None else GrowingTable(path)
        self._seen = self._unlike = 0
        self._reasons: Counter[str] = Counter()

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _started(self, engine: Engine) -> None:
        self._seen = self._unlike = 0
        self._reasons = Counter()
        if self._table is not None:
            writable_folder(Path(self._table.path).parent)
            self._table.restart()
        logger.info("what the weights were trained for: %s", self.trained_for)

    def _collect(self, engine: Engine) -> None:
        if not self.recorded:
            return
        for item, source in decollated(engine, (), type(self).__name__):
            flag = {**source, **item}.get(UNLIKE_TRAINING)
            if flag is None:
                raise ValueError(
                    f"{type(self).__name__} needs items with {UNLIKE_TRAINING!r}; put FlagUnlikeTrainingd into the "
                    "preprocessing, before ToUnitRanged."
                )
            self._seen += 1
            reasons = flag_reasons(flag)
            self._unlike += bool(reasons)
            self._reasons.update(reasons)
            file = item_file(source) or item_file(item) or f"image{self._seen:05d}"
            if self._table is not None:
                with item_stage(engine, file, "result"):
                    self._write(file, flag)

    def _write(self, file: str, flag: str) -> None:
        assert self._table is not None  # or nobody asks for this
        self._table.put_aside()
        if flag:
            self._table.append({"image": name_cell(shown_name(file)), UNLIKE_TRAINING: name_cell(flag)})

    def _finish(self, engine: Engine) -> None:
        if not self._unlike:
            return
        named = "; ".join(f"{reason} in {count}" for reason, count in self._reasons.most_common())
        listed = "" if self._table is None else f"; listed in {self._table.path}"
        logger.warning(
            "%d of %d %s unlike the images that the weights were trained with (%s): %s%s. Their results may be wrong "
            "however sure they look",
            *(self._unlike, self._seen, "is" if self._unlike == 1 else "are", self.trained_for, named, listed),
        )
