"""The best weights of a run, kept with the settings they belong to."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from ..bundle import write_model_settings
from ..bundle.settings import DOMAIN, HELD_OUT, TEACHER, TRAINED_ON, WEIGHTS_SHA256
from ..bundle.settings_schema import check_settings
from ..utils import keep_previous
from .checkpoints import serialized, sha256_of, unwrapped_network, write_checkpoint
from .evaluation_report import is_best_epoch
from .workflow_state import WorkflowState, workflow_state

__all__ = ["BestModel"]

logger = logging.getLogger(__name__)


class BestModel:
    """Ignite handler for the evaluator of a training: whenever a validation gives the best key metric so far, write
    ``model.pt`` and ``model.json`` into the run's folder, each in one step, the weights first.

    The best score, its epoch, its weights and its settings are part of the training's state (``state_dict``): a resumed
    training goes on with the best of the whole run, and what an epoch left that did not come to its end, and is done
    again, is put right. Files of another run in that folder are kept under a dated name when the first best weights of
    this one are ready.

    Args:
        save_dir: folder of the run.
        network: the network; ``DistributedDataParallel`` around it is taken off.
        settings: what inference needs to build the network again; written with two further keys, ``weights_sha256``
            (of ``model.pt``) and ``trained_on``.
        data_name: what the run learns from, for ``trained_on``.
        domain: gives what the weights are trained for, a :class:`~.TrainingDomain`; asked at the first best weights. A
            third further key, ``domain``; ``None`` leaves it out.
        teacher: name of the network whose predictions are learned beside the labels. A further key, ``teacher``;
            ``None`` leaves it out.
        held_out: which validation images choose nothing (:func:`medssm_monai.data.held_out_record`). A further key,
            ``held_out``; ``None`` leaves it out.
        fitted: settings that the evaluation finds out: names in ``engine.state.metrics``, by handlers before this one.
        filename: name of the weights; the settings have the same one with the ending ``.json``.
        save: ``False`` writes nothing (ranks other than 0).

    Raises:
        CheckpointError: the weights could not be written; the earlier ones stay.
        ValueError: settings that nobody could read again (at once).
    """

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        network: torch.nn.Module,
        settings: Mapping[str, Any],
        data_name: str | None = None,
        fitted: Sequence[str] = (),
        filename: str = "model.pt",
        save: bool = True,
        domain: Callable[[], Mapping[str, Any]] | None = None,
        teacher: str | None = None,
        held_out: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(save_dir) / filename
        self.network, self.settings, self.data_name = network, settings, data_name
        self.fitted, self.save, self.domain, self.teacher = tuple(fitted), save, domain, teacher
        self.held_out = held_out
        check_settings(settings, self.path.with_suffix(".json").name, "Inference could not read it; choose another.")
        self._engine: Engine | None = None
        self._best: dict[str, Any] | None = None  # weights and settings of the best epoch

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator, after handlers that fit settings."""
        self._engine = engine
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the weights if they are the best so far."""
        if not self.save or not is_best_epoch(engine):
            return
        state = unwrapped_network(self.network).state_dict()
        weights = {name: value.detach().cpu().clone() for name, value in state.items()}
        settings = {**self.settings, **{name: float(engine.state.metrics[name]) for name in self.fitted}}
        if self.domain is not None:
            settings[DOMAIN] = self.domain()
        if self.teacher is not None:
            settings[TEACHER] = self.teacher
        if self.held_out is not None:
            settings[HELD_OUT] = dict(self.held_out)
        self._write(weights, json.dumps(settings), keep=self._best is None)

    def _write(self, weights: dict[str, torch.Tensor], settings: str, keep: bool) -> None:
        data, beside = serialized(weights), self.path.with_suffix(".json")
        there = (lambda: keep_previous(self.path, beside)) if keep else None
        write_checkpoint(self.path, data, before_replacing=there)
        reserved = {WEIGHTS_SHA256: sha256_of(data), TRAINED_ON: self.data_name}
        write_model_settings(self.path, {**json.loads(settings), **reserved})
        self._best = {"weights": weights, "settings": settings}

    def state_dict(self) -> dict[str, Any]:
        """Best score and epoch, weights and settings."""
        state = self._state
        best = None if state.best_metric_epoch == -1 else float(state.best_metric)
        return {"metric": best, "epoch": state.best_metric_epoch, **(self._best or {})}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with that best; the files are written again where they differ from it."""
        if state["metric"] is not None:
            self._state.best_metric = state["metric"]
            self._state.best_metric_epoch = state["epoch"]
        if self.save and "weights" in state:
            digest = sha256_of(serialized(state["weights"]))
            same = self.path.is_file() and sha256_of(self.path.read_bytes()) == digest
            self._write(state["weights"], state["settings"], keep=not same)

    @property
    def _state(self) -> WorkflowState:
        if self._engine is None:
            raise RuntimeError("BestModel is attached to no evaluator; name it in the evaluator's handlers.")
        return workflow_state(self._engine)
