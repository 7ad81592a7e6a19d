"""Save the whole state of a training run at the end of each epoch, and go on from it."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from ..optimizers import require_same_groups
from ..utils import keep_previous
from ..utils.processes import from_first_rank
from .checkpoints import (
    CheckpointError,
    checkpoint_path,
    checkpoints_in,
    find_checkpoint,
    read_checkpoint,
    resumes,
    serialized,
    unwrapped_network,
    write_checkpoint,
)
from .early_stop import EarlyStop
from .events import process_rank
from .weight_average import WeightAverage
from .workflow_state import workflow_state

__all__ = ["TrainingState"]

logger = logging.getLogger(__name__)

VERSION = 2  # files without a version were written before the learning rate's step, without best score and counters


class TrainingState:
    """Write ``checkpoint_epoch=N.pt`` at the very end of every epoch, and resume from such a file.

    It is the last handler of an epoch: validation, best weights, early stopping, learning rate and history are through
    when the state is taken, so that a resumed training begins the next epoch as the uninterrupted one does, and an
    epoch that was interrupted is done again from its start. The state is that of the ``objects``, of the trainer's
    counters and of its gradient scaler; random numbers are no part of it (``EpochSeed``).

    A checkpoint is written beside its place, read once, and put in place in one step; then those before the last
    ``keep`` are removed. The files hold tensors, numbers and text only and load with
    ``torch.load(..., weights_only=True)``. Checkpoints of another training in that folder are kept under a dated name.

    Args:
        save_dir: folder of the run.
        objects: what to save beside the trainer, by name: the network (wrapped by ``DistributedDataParallel`` or not)
            and whatever has ``state_dict`` and ``load_state_dict``. An ``EarlyStop`` among them ends a training at once
            that is resumed after it had stopped.
        resume_from: a checkpoint of an earlier run, or that run's folder (the newest checkpoint that loads), or
            ``None``.
        save: ``False`` only resumes (ranks other than 0).
        keep: how many checkpoints are kept.
        resume: ``True`` goes on with the newest checkpoint in ``save_dir`` that loads; where there is none with
            ``resume_from``, and without that from the beginning. Run distributed, all ranks take the checkpoint that
            rank 0 finds.

    Raises:
        FileNotFoundError: on ``attach``, ``resume_from`` is no file and no folder with checkpoints.
        ValueError: ``resume`` is neither on nor off; on ``attach``, the checkpoint does not load, or ``save_dir`` holds
            checkpoints of another run; at the start of the training, it is that of another network or optimizer.
        CheckpointError: the state could not be written. Training ends, the earlier checkpoints stay.
    """

    def __init__(
        self,
        save_dir: str | os.PathLike,
        objects: Mapping[str, Any],
        resume_from: str | os.PathLike | None = None,
        save: bool = True,
        keep: int = 2,
        resume: bool | str = False,
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}.")
        self.save_dir, self.objects, self.resume_from = Path(save_dir), dict(objects), resume_from
        self.save, self.keep, self.resume = save, keep, resumes(resume)
        self._found: tuple[Path, dict[str, Any]] | None = None
        self._broken: list[Path] = []
        self._done = 0  # epochs that this run has behind it when it starts
        self._tidied = False

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer; the checkpoint to resume from is read now."""
        self._found = self._find() if self.resume or self.resume_from is not None else None
        if self._found is not None:
            path = self._found[0]
            if self.save and path.parent.resolve() != self.save_dir.resolve() and checkpoints_in(self.save_dir):
                raise ValueError(
                    f"{self.save_dir} holds checkpoints of another run than {path}. Leave --run_name out to go on in "
                    f"the folder of the checkpoint, or give a new one."
                )
            engine.add_event_handler(Events.STARTED, self._resume)
        if self.save:
            engine.add_event_handler(Events.EPOCH_STARTED, self._take_the_last_place)

    def _find(self) -> tuple[Path, dict[str, Any]] | None:
        """The checkpoint that rank 0 chooses, and its content."""
        first, found = process_rank() == 0, None
        if first:
            own = self.resume and checkpoints_in(self.save_dir)
            source = self.save_dir if own else self.resume_from
            if source is None:
                logger.info("--resume: %s holds no checkpoint; the training starts from its beginning", self.save_dir)
            else:
                path, state, self._broken = find_checkpoint(source)
                found = path, state
        chosen = from_first_rank(None if found is None else found[0])
        return found if first or chosen is None else (chosen, read_checkpoint(chosen))

    def _take_the_last_place(self, engine: Engine) -> None:
        """Behind the handlers that take their place when the training starts."""
        if not engine.has_event_handler(self._save, Events.EPOCH_COMPLETED):
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)

    # ---- saving ------------------------------------------------------------------------------------------------------

    def _all_objects(self, engine: Engine) -> dict[str, Any]:
        scaler = getattr(engine, "scaler", None)
        objects = self.objects if scaler is None else {**self.objects, "scaler": scaler}
        return {
            name: unwrapped_network(item) if isinstance(item, torch.nn.Module) else item
            for name, item in objects.items()
        }

    def _save(self, engine: Engine) -> None:
        state = {name: item.state_dict() for name, item in self._all_objects(engine).items()}
        trainer = workflow_state(engine)
        best = {"best_metric": float(trainer.best_metric), "best_metric_epoch": trainer.best_metric_epoch}
        state |= {"version": VERSION, "trainer": {**engine.state_dict(), "epoch": engine.state.epoch, **best}}
        path = checkpoint_path(self.save_dir, engine.state.epoch)
        write_checkpoint(path, serialized(state), before_replacing=self._put_others_aside)
        for old in [*checkpoints_in(self.save_dir).values()][self.keep :]:
            old.unlink()
        logger.info("state of epoch %d saved in %s", engine.state.epoch, path)

    def _put_others_aside(self) -> None:
        """Once: checkpoints of an earlier training, and of the epochs that are done again, make way."""
        if self._tidied:
            return
        self._tidied = True
        for broken in self._broken:
            broken.unlink(missing_ok=True)
        keep_previous(*(path for epoch, path in checkpoints_in(self.save_dir).items() if epoch > self._done))
        for part in self.save_dir.glob(".checkpoint_epoch=*.part.pt"):
            if f".{os.getpid()}." not in part.name:
                part.unlink()

    # ---- resuming ----------------------------------------------------------------------------------------------------

    def _resume(self, engine: Engine) -> None:
        if self._found is None:  # resumed already: a second run of the same engine goes on from where it is
            return
        (path, state), self._found = self._found, None
        trainer = state["trainer"]
        self._done = trainer.get("epoch", trainer["iteration"] // trainer["epoch_length"])
        self._load(engine, path, state)
        now = workflow_state(engine)
        now.epoch = self._done
        now.iteration = self._done * now.epoch_length
        if "best_metric" in trainer:
            now.best_metric = trainer["best_metric"]
            now.best_metric_epoch = trainer["best_metric_epoch"]
        self._say(engine, path, state)

    def _load(self, engine: Engine, path: Path, state: Mapping[str, Any]) -> None:
        lacking = []
        for name, item in self._all_objects(engine).items():
            if isinstance(item, WeightAverage):
                item.require_state(state.get(name), path)
                if not item.active:
                    continue
            if name not in state:
                lacking.append(name)
                continue
            if isinstance(item, torch.optim.Optimizer):
                require_same_groups(item, state[name], path)
            try:
                item.load_state_dict(state[name])
            except CheckpointError:  # the best weights could not be written again
                raise
            except (RuntimeError, ValueError, KeyError) as error:
                first = " ".join(str(error).split())[:200]
                raise ValueError(
                    f"{path} is the state of another training, its {name} does not fit ({first}). Give the settings "
                    "that the run was started with."
                ) from error
        if "version" not in state:
            self._step_learning_rate()
            logger.warning(
                "%s was written by an earlier version of this package: its learning rate, one epoch behind, was moved "
                "on; it holds no %s. The best weights and early stopping start anew at the next validation.",
                path,
                ", ".join(lacking) or "seed of the epoch",
            )
        elif lacking:
            logger.warning("%s holds no state of %s; they start anew", path, ", ".join(lacking))

    def _step_learning_rate(self) -> None:
        scheduler = self.objects.get("lr_scheduler")
        if scheduler is not None and scheduler.last_epoch == self._done - 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch warns of a step before the optimizer's first
                scheduler.step()

    def _say(self, engine: Engine, path: Path, state: Mapping[str, Any]) -> None:
        most = workflow_state(engine).max_epochs
        best = state.get("best_model", {})
        known = (
            f", the best so far {best['metric']:.4g} of epoch {best['epoch']}" if best.get("metric") is not None else ""
        )
        logger.info(
            "resumed from %s: %d epochs are done%s; the run's folder is %s", path, self._done, known, self.save_dir
        )
        if state["trainer"]["max_epochs"] != most:
            logger.warning(
                "the run was planned for %d epochs and goes on to %d: its learning rate differs from that of a run "
                "planned so from the start",
                state["trainer"]["max_epochs"],
                most,
            )
        stops = [item for item in self.objects.values() if isinstance(item, EarlyStop) and item.stopped]
        if self._done >= most:
            logger.info(
                "nothing is left to train: epoch %d of %d is done. Give a larger --max_epochs to go on.",
                self._done,
                most,
            )
        elif stops:
            logger.info(
                "nothing is left to train: it stopped early, after %d validations without a better score. Give a "
                "larger --patience to go on.",
                stops[0].patience,
            )
            engine.terminate()
