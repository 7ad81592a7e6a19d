"""Early stopping whose counter is part of a training's state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.handlers import EarlyStopping
from monai.handlers import EarlyStopHandler

__all__ = ["EarlyStop"]


class EarlyStop(EarlyStopHandler):
    """MONAI's ``EarlyStopHandler``, with ``state_dict`` and ``load_state_dict``.

    The patience is not part of the state, so that a training that stopped early can be resumed with more of it.
    """

    def state_dict(self) -> dict[str, Any]:
        """How many validations in a row brought nothing better, and the best score."""
        counter = self._counter
        return {
            "counter": counter.counter,
            "best_score": None if counter.best_score is None else float(counter.best_score),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting from there."""
        self._counter.counter, self._counter.best_score = state["counter"], state["best_score"]

    @property
    def stopped(self) -> bool:
        """Whether the patience is used up."""
        return self._counter.counter >= self.patience

    @property
    def _counter(self) -> EarlyStopping:
        if self._handler is None:
            raise RuntimeError("set_trainer() must be called before a training starts or resumes.")
        return self._handler
