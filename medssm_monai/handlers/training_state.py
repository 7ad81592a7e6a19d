"""Save the whole state of a training run, and go on from it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine
from monai.handlers import CheckpointLoader, CheckpointSaver

from ..utils import require_file

__all__ = ["TrainingState"]


class TrainingState:
    """Write ``checkpoint_epoch=N.pt`` after every epoch (the latest is kept) and resume from such a file.

    Beside MONAI's ``CheckpointSaver``/``CheckpointLoader`` pair, which do the work, this handler adds the trainer's own
    counters, which a config cannot name inside the trainer's handlers. The files hold tensors and plain numbers only
    and load with ``torch.load(..., weights_only=True)``.

    Args:
        save_dir: folder of the checkpoints.
        objects: what to save beside the trainer, for example ``{"model": network, "optimizer": optimizer}``.
        resume_from: a checkpoint of an earlier run, or ``None``.
        save: ``False`` only resumes (ranks other than 0).

    Raises:
        FileNotFoundError: on ``attach`` when ``resume_from`` is no file.
    """

    def __init__(
        self,
        save_dir: str | os.PathLike,
        objects: Mapping[str, Any],
        resume_from: str | os.PathLike | None = None,
        save: bool = True,
    ) -> None:
        self.save_dir, self.objects, self.resume_from, self.save = os.fspath(save_dir), objects, resume_from, save

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        state = {**self.objects, "trainer": engine}
        if self.resume_from is not None:
            mend = "Give the checkpoint_epoch=N.pt of the run to go on with, in --resume_from."
            path = require_file(self.resume_from, "checkpoint", mend)
            CheckpointLoader(path, state, map_location="cpu").attach(engine)
        if self.save:
            CheckpointSaver(self.save_dir, state, save_interval=1, n_saved=1).attach(engine)
