"""What a trial of a study tells while it trains: the validation figure of each epoch; its end when it falls behind."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from ..handlers.events import process_rank
from ..utils import replace_file

__all__ = ["ValidationWatch", "read_watch"]

logger = logging.getLogger(__name__)


class ValidationWatch:
    """Ignite handler of a trainer, the last one: after each validation, the key metric of the evaluator goes to a file.

    Args:
        evaluator: of the validations.
        path: JSON file: ``metric`` (its name), ``values`` (by epoch), ``pruned`` (the epoch, or null). A training that
            goes on keeps the epochs before.
        pruning: ``storage``, ``study_name``, ``trial_id`` and ``warm_up`` (epochs) of an Optuna trial that is ended
            (as early stopping ends a training, so that the weights so far are kept) when Optuna says so; None never
            does.

    Raises:
        ValueError: an evaluator without a key metric, or one whose smaller figures are better (after the validation).
    """

    def __init__(self, evaluator: Engine, path: str, pruning: Mapping[str, Any] | None = None) -> None:
        self.evaluator, self.path, self.pruning = evaluator, Path(path), pruning
        self._values: dict[str, float] | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, after its validation."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the figure, if there was a validation in this epoch, and ask whether to go on."""
        state, epoch = self.evaluator.state, engine.state.epoch
        if self._values is None:
            before = read_watch(self.path)["values"] if self.path.is_file() else {}
            self._values = {key: value for key, value in before.items() if int(key) < epoch}
        if state.epoch != epoch or process_rank() > 0:
            return
        name = getattr(state, "key_metric_name", None)
        better = getattr(self.evaluator, "metric_cmp_fn", None)
        if name is None or (better is not None and not better(1.0, 0.0)):
            raise ValueError(
                f"trials are compared by a validation figure whose larger values are better; this one has {name}."
            )
        value = float(state.metrics[name])
        if math.isfinite(value):
            self._values[str(epoch)] = value
        pruned = self.pruning is not None and math.isfinite(value) and self._falls_behind(value, epoch)
        with replace_file(self.path) as part:
            content = {"metric": name, "values": self._values, "pruned": epoch if pruned else None}
            part.write_text(json.dumps(content), encoding="utf8")
        if pruned:
            logger.info("Ended after epoch %d: %s %.4f falls behind the other trials.", epoch, name, value)
            engine.terminate()

    def _falls_behind(self, value: float, epoch: int) -> bool:
        import optuna

        asked = self.pruning
        assert asked is not None
        pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=int(asked["warm_up"]) + 1)
        study = optuna.load_study(study_name=asked["study_name"], storage=asked["storage"], pruner=pruner)
        trial = optuna.trial.Trial(study, int(asked["trial_id"]))
        trial.report(value, epoch)
        return bool(trial.should_prune())


def read_watch(path: Path) -> dict[str, Any]:
    """What a :class:`ValidationWatch` has written."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf8"))
    return content
