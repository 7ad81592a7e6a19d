"""A teacher at the side of a MONAI trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import IterationEvents, SupervisedTrainer
from monai.utils import CommonKeys

from ..bundle import Teacher
from ..losses import DistillationLoss
from ..utils.processes import whole_batch

__all__ = ["Distillation"]


class Distillation:
    """Loss function of a ``monai.engines.SupervisedTrainer``, and handler that asks the teacher about each batch.

    The teacher sees the images as the network does, augmented and mixed alike, in evaluation mode, without gradients,
    through the trainer's inferer and so in its precision. Give one instance to the trainer as ``loss_function`` and
    among its handlers.

    Args:
        loss: what is made of both predictions.
        teacher: the trained network and whose it is.

    Raises:
        RuntimeError: called as a loss before the teacher was asked, as it is not attached.
        ValueError: on ``load_state_dict``, the run was started with another teacher.
    """

    def __init__(self, loss: DistillationLoss, teacher: Teacher) -> None:
        self.loss, self.teacher = loss, teacher
        self._pred: torch.Tensor | None = None

    def attach(self, engine: SupervisedTrainer) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._ask)

    def _ask(self, engine: SupervisedTrainer) -> None:
        images = engine.state.output[CommonKeys.IMAGE]
        with torch.no_grad():
            self._pred = engine.inferer(images, self.teacher.network.eval())

    def __call__(self, pred: torch.Tensor | list[torch.Tensor], label: torch.Tensor) -> torch.Tensor:
        """Logits of the network and labels of the batch, to one number: of all processes together, as in
        :class:`medssm_monai.losses.GlobalBatchLoss`."""
        if self._pred is None:
            raise RuntimeError(
                "the teacher was not asked about this batch; name Distillation in the trainer's handlers."
            )
        teacher, self._pred = self._pred, None
        return self.loss(whole_batch(pred), whole_batch(label), whole_batch(teacher))

    def state_dict(self) -> dict[str, Any]:
        """Whose predictions are learnt."""
        return {"teacher_sha256": self.teacher.sha256}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Check that it is the same teacher."""
        digest = state["teacher_sha256"]
        if digest != self.teacher.sha256:
            raise ValueError(f"the run had another teacher than {self.teacher.name}, with the SHA-256 {digest[:12]}…")
