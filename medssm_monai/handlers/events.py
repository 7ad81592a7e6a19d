"""Ignite events as these handlers need them: a failure reaches every one of them, and rank 0 alone writes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Average
from monai.utils import CommonKeys

from ..utils.process_failures import note_failure
from ..utils.processes import process_rank, world_size

__all__ = [
    "TRAIN_LOSS",
    "average_train_loss",
    "loss_of",
    "on_failure",
    "optimizer_stepped",
    "process_rank",
    "scalars",
    "world_size",
]

logger = logging.getLogger(__name__)

TRAIN_LOSS = "train_loss"

FailureCallback = Callable[[Engine, BaseException], None]


class _FailureDispatcher:
    """Runs callbacks once per exception, ahead of handlers that raise it again, and never swallows it."""

    def __init__(self) -> None:
        self.callbacks: list[FailureCallback] = []
        self._seen: BaseException | None = None

    def __call__(self, engine: Engine, error: BaseException) -> None:
        # Ignite fires the event twice for one error: from the epoch loop and again from the run around it.
        if error is not self._seen:
            self._seen = error
            note_failure(error)
            for callback in self.callbacks:
                try:
                    callback(engine, error)
                except Exception:  # the first error is the one the user must see; this one goes to the log
                    logger.exception("%s failed while handling: %s", callback, error)
        if len(engine._event_handlers[Events.EXCEPTION_RAISED]) == 1:
            raise error


def on_failure(engine: Engine, callback: FailureCallback) -> None:
    """Call ``callback(engine, error)`` when ``engine`` stops on an exception, whatever other handlers are attached.

    MONAI's ``StatsHandler`` and ``CheckpointSaver`` raise the exception again from their own handler, and Ignite then
    skips the handlers after them; so ours goes to the front, does not raise while others follow, and raises when it is
    alone (Ignite would swallow the exception).
    """
    handlers = engine._event_handlers[Events.EXCEPTION_RAISED]
    dispatcher = next((first for first, *_ in handlers if isinstance(first, _FailureDispatcher)), None)
    if dispatcher is None:
        dispatcher = _FailureDispatcher()
        engine.add_event_handler(Events.EXCEPTION_RAISED, dispatcher)
        handlers.insert(0, handlers.pop())
    dispatcher.callbacks.append(callback)


def loss_of(output: Any) -> Any:
    """The loss in ``engine.state.output`` of a MONAI trainer (a dict, or a list of dicts once decollated), or
    ``None``."""
    if isinstance(output, list) and output:
        output = output[0]  # decollation repeats the loss of the batch in every item
    return output.get(CommonKeys.LOSS) if isinstance(output, Mapping) else None


def optimizer_stepped(engine: Engine) -> bool:
    """Whether the optimizer of a MONAI trainer takes its step in the current iteration, at the end of those whose
    gradients are accumulated."""
    steps, length = getattr(engine, "accumulation_steps", 1), engine.state.epoch_length or 0
    local = (engine.state.iteration - 1) % length + 1 if length else engine.state.iteration
    return local % steps == 0 or local == length


class _MeanTrainLoss(Average):
    """A class of its own, by which an engine is known to have one."""


def average_train_loss(engine: Engine) -> None:
    """Put the mean loss of each epoch into ``engine.state.metrics["train_loss"]`` (over all ranks), once per engine.

    Must be called on every rank: the mean is a collective operation.
    """
    attached = (getattr(handler, "__self__", None) for handler, *_ in engine._event_handlers[Events.EPOCH_COMPLETED])
    if not any(isinstance(owner, _MeanTrainLoss) for owner in attached):
        _MeanTrainLoss(output_transform=loss_of).attach(engine, TRAIN_LOSS)


def scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of an engine as floats; a vector (one value per class) becomes ``name_0``, ``name_1``, ..."""
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        values = torch.as_tensor(value).flatten().tolist()
        flat.update({name: values[0]} if len(values) == 1 else {f"{name}_{i}": v for i, v in enumerate(values)})
    return flat
