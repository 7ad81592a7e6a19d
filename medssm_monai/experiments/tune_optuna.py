"""Optuna as the one who proposes trials: its storage, how it is seeded, and what it is told."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from .plans import PlanError, Row
from .tune_space import Choice, Range, Search

__all__ = ["OptunaStudy"]

logger = logging.getLogger(__name__)
STORAGE = "optuna.db"


class OptunaStudy:
    """An Optuna study in a SQLite file of the output folder, which several processes may share.

    Trials are proposed by TPE. The draw of a trial is seeded by the study's seed and the trial's number, so that a
    study that was interrupted goes on as if it had not been; trials that run at once change what TPE knows, and so the
    draws.

    Args:
        folder: of the study; holds ``optuna.db``.
        name: of the study; another name in the same file is another study.
        search: what is searched.

    Raises:
        PlanError: Optuna is not installed.
    """

    def __init__(self, folder: Path, name: str, search: Search) -> None:
        try:
            import optuna
        except ImportError as error:
            raise PlanError(
                "a search over ranges needs Optuna, which is not installed: pip install 'medssm-monai[tune]'. A grid "
                "(--grid) needs nothing more."
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self.search, self.name = optuna, search, name
        self.storage = f"sqlite:///{(folder / STORAGE).as_posix()}"
        self._lock = FileLock(folder / f".{STORAGE}.lock")
        with self._lock:  # two that make the tables at once would fail
            self.study = optuna.create_study(
                study_name=name, storage=self.storage, direction="maximize", load_if_exists=True
            )
        self._distributions = {key: self._distribution(entry) for key, entry in search.keys.items()}

    def _distribution(self, entry: Choice | Range) -> Any:
        kinds = self._optuna.distributions
        if isinstance(entry, Choice):
            return kinds.CategoricalDistribution([json.dumps(value) for value in entry.values])
        if entry.whole:
            return kinds.IntDistribution(int(entry.low), int(entry.high), entry.log, int(entry.step or 1))
        return kinds.FloatDistribution(float(entry.low), float(entry.high), entry.log, entry.step)

    def rows(self) -> dict[int, tuple[Row, str]]:
        """Trials so far by number, with their state: ``"running"``, ``"complete"``, ``"pruned"`` or ``"fail"``."""
        return {trial.number: (self._row(trial), trial.state.name.lower()) for trial in self.study.get_trials()}

    def propose(self) -> tuple[int, Row]:
        """A new trial."""
        with self._lock:  # two that count at once would draw the same values
            number = len(self.study.get_trials(deepcopy=False))
            draws = self.search.seed * 100_003 + number  # another seed, other draws in all of its trials
            self.study.sampler = self._optuna.samplers.TPESampler(seed=draws % 2**32)
            trial = self.study.ask(self._distributions)
        return trial.number, self._row(trial)

    def _row(self, trial: Any) -> Row:
        values: dict[str, Any] = {}
        for key, entry in self.search.keys.items():
            if key in trial.params:
                drawn = trial.params[key]
                values[key] = json.loads(drawn) if isinstance(entry, Choice) else drawn
        return Row(f"trial {trial.number:03d}", values)

    def pruning(self, number: int, warm_up: int) -> Mapping[str, Any] | None:
        """What a :class:`~.tune_watch.ValidationWatch` of the trial is given; None where nothing is pruned."""
        if not self.search.pruning:
            return None
        identity = next(trial._trial_id for trial in self.study.get_trials(deepcopy=False) if trial.number == number)
        return {"storage": self.storage, "study_name": self.name, "trial_id": identity, "warm_up": warm_up}

    def tell(self, number: int, score: float | None, pruned: bool = False) -> None:
        """End a trial: with its score, as pruned, or (no score) as failed."""
        states = self._optuna.trial.TrialState
        if score is None:
            self.study.tell(number, state=states.FAIL, skip_if_finished=True)
        elif pruned:
            self.study.tell(number, state=states.PRUNED, skip_if_finished=True)
        else:
            self.study.tell(number, score, skip_if_finished=True)
