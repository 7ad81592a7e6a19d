"""Inference over many items that goes on after one of them fails."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, cast

import torch
from ignite.engine import Engine, Events
from monai.data import list_data_collate
from monai.engines import IterationEvents, SupervisedEvaluator
from monai.engines.utils import engine_apply_transform
from monai.inferers import Inferer
from monai.transforms import Transform

from ..utils.command_line import run_by_monai
from ..utils.errors import Failure, describe_error, ends_the_run, root_cause
from ..utils.shown_names import shown_text
from .batch_items import item_file

__all__ = ["BulkEvaluator"]

logger = logging.getLogger(__name__)

SOME_FAILED = 3
"""Exit code of a command of which some items failed and the others are done."""


class BulkEvaluator(SupervisedEvaluator):
    """MONAI's evaluator for inference, that records an item which fails and goes on with the next one.

    An item may fail when it is read or prepared (:class:`~medssm_monai.data.TolerantDataset`), in the network, in the
    post-processing, which saves results too, and in handlers that ask for it
    (:func:`~medssm_monai.engines.batch_items.item_stage`). A batch that fails as a whole is repeated item by item.
    What would fail every further item (a full disk, a device that is lost) and what is no error
    (``KeyboardInterrupt``, ``SystemExit``) ends the run as ever.

    How many batches there are is asked at the start of a run, so that an evaluator can be made where its input is not.

    Args:
        device, val_data_loader, network, inferer, amp: as MONAI's evaluator takes them. The loader gives lists of
            items and failures: ``TolerantDataset`` and ``collate_fn=keep_items``.
        postprocessing: applied to each item by itself.
        val_handlers: see them run with lists of those items in ``state.batch`` and ``state.output`` that did not fail.
        kwargs: further arguments of MONAI's evaluator; items are always decollated.

    Attributes:
        failures: a :class:`~medssm_monai.utils.errors.Failure` for each item that failed in the last run.
        seen: how many items the last run came to.
    """

    def __init__(
        self,
        device: torch.device | str,
        val_data_loader: Iterable,
        network: torch.nn.Module,
        inferer: Inferer | None = None,
        postprocessing: Transform | None = None,
        val_handlers: Sequence[Any] | None = None,
        amp: bool = False,
        **kwargs: Any,
    ) -> None:
        self.failures: list[Failure] = []
        self.seen = 0
        super().__init__(
            device=device,  # type: ignore[arg-type]  # MONAI takes a name too
            val_data_loader=val_data_loader,
            network=network,
            inferer=inferer,
            val_handlers=[_Postprocessing(postprocessing), *(val_handlers or [])],
            amp=amp,
            **{"epoch_length": 0, **kwargs, "decollate": True},
        )
        self._fixed_length = kwargs.get("epoch_length")

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]  # as MONAI's evaluators
        """Go through the loader once.

        Args:
            global_epoch: as MONAI's evaluators take it.
        """
        try:
            self.state.epoch_length = self._fixed_length or len(cast(Sized, self.data_loader))
        except TypeError:  # a loader without length
            self.state.epoch_length = None
        super().run(global_epoch)

    @property
    def done(self) -> int:
        """How many items did not fail."""
        return self.seen - len({failure.file for failure in self.failures})

    def item_failed(self, file: str, stage: str, error: Exception) -> None:
        """Record a failure.

        Raises:
            Exception: ``error`` itself when it would end every further item.
        """
        if ends_the_run(error):
            raise error
        self.failures.append(Failure.of(file, stage, error))
        if isinstance(root_cause(error), torch.OutOfMemoryError):
            torch.cuda.empty_cache()

    def end_command(self) -> None:
        """End the process with exit code 3 when items failed and it is a command, ``python -m monai.bundle ...``.

        The last line of ``finalize`` in the configs, after everything was written. In Python nothing happens:
        ``failures`` is there to look at.

        Raises:
            SystemExit: code 3.
        """
        if self.failures and run_by_monai():
            raise SystemExit(SOME_FAILED)

    def _iteration(self, engine: Engine, batchdata: Any) -> Any:
        if not isinstance(batchdata, list):
            raise ValueError(
                f"expected a list of items from the loader, got {type(batchdata).__name__}; give it "
                "collate_fn=medssm_monai.data.keep_items."
            )
        items = [item for item in batchdata if not isinstance(item, Failure)]
        self.seen += len(batchdata)
        self.failures += [item for item in batchdata if isinstance(item, Failure)]
        self.state.batch, self.state.output = self._predicted(items)
        return self.state.output

    def _predicted(self, items: list[Mapping[str, Any]]) -> tuple[list[Any], list[Any]]:
        """Batch and output of the items that did not fail."""
        if not items:
            return [], []
        try:
            self.state.batch = list_data_collate(items)
            super()._iteration(self, self.state.batch)  # decollates, then post-processes
            return self.state.batch, self.state.output
        except Exception as error:
            if len(items) == 1:
                self.item_failed(self.name_of(items[0]), "network", error)
                return [], []
            if ends_the_run(error):
                raise
            logger.info("a batch of %d is repeated item by item: %s", len(items), shown_text(describe_error(error)))
        if torch.device(self.state.device).type == "cuda":
            torch.cuda.empty_cache()
        parts = [self._predicted([item]) for item in items]
        return [one for batch, _ in parts for one in batch], [one for _, output in parts for one in output]

    def name_of(self, item: Mapping[str, Any]) -> str:
        """File of an item, or its number where it has none."""
        return item_file(item) or str(item.get("name") or f"item {self.seen}")


class _Postprocessing:
    """Post-processing of each item by itself; ahead of all other handlers."""

    def __init__(self, transform: Transform | None) -> None:
        self.transform = transform

    def attach(self, engine: BulkEvaluator) -> None:
        engine.add_event_handler(Events.STARTED, self._started)
        if self.transform is not None:
            engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._apply)

    def _started(self, engine: BulkEvaluator) -> None:
        engine.failures, engine.seen = [], 0

    def _apply(self, engine: BulkEvaluator) -> None:
        assert self.transform is not None  # or this is attached to nothing
        kept = []
        for batch, output in zip(engine.state.batch, engine.state.output, strict=True):
            name = engine.name_of(batch)
            try:
                kept.append(engine_apply_transform(batch, output, self.transform))
            except Exception as error:
                engine.item_failed(name, "result", error)
        engine.state.batch, engine.state.output = [one for one, _ in kept], [one for _, one in kept]
