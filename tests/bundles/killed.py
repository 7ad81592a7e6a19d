"""A training in a process of its own that is killed, by the operating system, at a moment that a test names."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import mlflow  # noqa: F401  # with the others, once, in the process from which the trainings are forked
from matplotlib.figure import Figure
from monai.engines import IterationEvents

import medssm_monai.bundle
import medssm_monai.data
import medssm_monai.handlers
import medssm_monai.networks
import medssm_monai.transforms
import medssm_monai.visualize

from .bundle_runs import MAMBA_MIS, give_store

OPTIONS = {**MAMBA_MIS.tiny, "max_epochs": 3, "learning_rate": 0.02}
IN_AN_EPOCH, IN_A_CHECKPOINT, BEFORE_PUBLISHING = "in an epoch", "in a checkpoint", "before publishing"


def train(place: Path, moment: str | None, epoch: int) -> None:
    """``run training --resume true`` below a folder, up to a moment of an epoch; None lets it end."""
    Figure.savefig = lambda self, target, **_: Path(target).write_bytes(b"a picture")  # drawing takes seconds
    give_store(place / "eval")
    models = str(place / "models")
    flow = MAMBA_MIS.workflow(("train.yaml",), place / "eval", **OPTIONS, ckpt_dir=models, resume="true")
    if moment == IN_AN_EPOCH:
        flow.trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, lambda engine: _die_in(engine, epoch))
    elif moment == IN_A_CHECKPOINT:
        whole = Path.write_bytes

        def half(path: Path, data: bytes) -> int:
            if f"checkpoint_epoch={epoch}." not in path.name:
                return whole(path, data)
            whole(path, data[: len(data) // 2])
            _die()

        Path.write_bytes = half
    elif moment == BEFORE_PUBLISHING:
        medssm_monai.bundle.publish_weights = _die
    flow.run()
    flow.finalize()


def _die_in(engine, epoch: int) -> None:
    if engine.state.epoch == epoch:
        _die()


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def status_of(place: Path, moment: str | None, epoch: int = 0) -> int:
    """Exit status of such a training, negative for the signal that ended it."""
    context = multiprocessing.get_context("forkserver")  # no threads yet, which a fork would not take along
    context.set_forkserver_preload([__name__])
    process = context.Process(target=train, args=(place, moment, epoch))
    process.start()
    process.join(300)
    if process.is_alive():
        process.kill()
    return process.exitcode
