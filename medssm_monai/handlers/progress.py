"""How far a run is: one bar on a terminal, a line now and then in a file."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from typing import Any

import torch
from ignite.engine import Engine, Events
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from .events import TRAIN_LOSS, average_train_loss, loss_of, on_failure
from .workflow_state import workflow_state

__all__ = ["Progress"]

logger = logging.getLogger(__name__)
REFRESH = 0.1  # seconds between drawings of the bar
BAR = "{desc} {percentage:3.0f}%|{bar:24}| {postfix}[{elapsed}, {remaining} left]"


class Progress:
    """Ignite handler: one bar over a whole training, with loss and key metric; over the batches of any other engine.

    Where standard error is no terminal (a log file, a scheduler) a training logs a line per epoch instead, and any run
    a line when ``every`` seconds have passed since the last one.

    Attach it **after** what validates, so that an epoch's line has that epoch's metric.

    Args:
        validator: the evaluator that the training is validated with; its key metric is shown, and the best one.
        what: what a batch holds, for engines that do not train.
        every: seconds between lines within an epoch.
    """

    def __init__(self, validator: Engine | None = None, what: str = "batches", every: float = 60.0) -> None:
        self.validator, self.what, self.every = validator, what, every
        self._bar: Any = None
        self._open = contextlib.ExitStack()
        self._last = self._loss = float("nan")

    def attach(self, engine: Engine) -> None:
        """Register the handler with a trainer or an evaluator."""
        if self.validator is not None:
            average_train_loss(engine)
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch)
        engine.add_event_handler(Events.COMPLETED, self._close)
        on_failure(engine, lambda engine, error: self._close(engine))

    def _start(self, engine: Engine) -> None:
        self._last = time.monotonic()
        if not sys.stderr.isatty():
            return
        state = workflow_state(engine)
        total = (state.max_epochs or 1) * (state.epoch_length or 0)
        look: dict[str, Any] = {"bar_format": BAR, "leave": False, "dynamic_ncols": True, "mininterval": REFRESH}
        self._bar = tqdm(total=total or None, initial=state.iteration, **look)
        self._open.enter_context(logging_redirect_tqdm())  # messages go above the bar

    def _step(self, engine: Engine) -> None:
        loss = loss_of(engine.state.output) if self.validator is not None else None
        if self._bar is not None:
            if loss is not None:
                self._loss = float(torch.as_tensor(loss).detach().mean())
            self._bar.set_description_str(self._where(engine), refresh=False)
            self._bar.set_postfix_str(self._figures(self._loss), refresh=False)
            self._bar.update()
        elif time.monotonic() - self._last >= self.every:
            self._line(engine)

    def _epoch(self, engine: Engine) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(self._figures(self._loss))
        elif self.validator is not None:
            self._line(engine, engine.state.metrics.get(TRAIN_LOSS))

    def _line(self, engine: Engine, loss: float | None = None) -> None:
        self._last = time.monotonic()
        state = workflow_state(engine)
        at = state.iteration - (state.epoch - 1) * state.epoch_length if state.epoch_length else state.iteration
        within = f", {at} of {state.epoch_length} {self.what}" if loss is None and state.epoch_length else ""
        figures = self._figures(float("nan") if loss is None else float(loss)).rstrip()
        logger.info("%s%s%s", self._where(engine), within, f": {figures}" if figures else "")

    def _where(self, engine: Engine) -> str:
        state = workflow_state(engine)
        return f"epoch {state.epoch} of {state.max_epochs}" if self.validator is not None else self.what

    def _figures(self, loss: float) -> str:
        shown = [f"loss {loss:.3f}"] if loss == loss else []
        state = workflow_state(self.validator) if self.validator is not None else None
        name = state.key_metric_name if state is not None else None
        if state is not None and name is not None and name in state.metrics and state.best_metric_epoch > 0:
            now = float(torch.as_tensor(state.metrics[name]).mean())
            shown.append(f"{name} {now:.3f} (best {state.best_metric:.3f} in epoch {state.best_metric_epoch})")
        return ", ".join(shown) + (" " if shown else "")

    def _close(self, engine: Engine) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._open.close()
