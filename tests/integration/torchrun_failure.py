"""A handler that fails in one process of a training."""

from __future__ import annotations

from ignite.engine import Engine, Events

from medssm_monai.utils import process_rank


class FailingProcess:
    """Raise in the middle of an epoch, in the process of this rank."""

    def __init__(self, rank: int, epoch: int) -> None:
        self.rank, self.epoch = rank, epoch

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        if process_rank() == self.rank and engine.state.epoch == self.epoch:
            raise ValueError("no such scanner")
