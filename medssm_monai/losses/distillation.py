"""Learning from a teacher's predictions beside the labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

__all__ = ["DistillationLoss"]


class DistillationLoss(nn.Module):
    """``(1 - a) * loss(pred, label) + a * T² * D(teacher, pred)`` with predictions softened by the temperature ``T``.

    ``D`` is the Kullback-Leibler divergence of the classes' probabilities, mean over the batch (and over the voxels of
    a segmentation), or, with ``sigmoid``, the binary cross-entropy with the teacher's probabilities, mean over all
    values; ``T²`` keeps the size of its gradient.

    Args:
        loss: of prediction and label.
        weight: ``a``, from 0 (labels alone) to 1 (teacher alone).
        temperature: ``T``, positive.
        sigmoid: predictions are logits of independent masks ``(B, C, *spatial)``; else of classes ``(B, K)`` or
            ``(B, K, *spatial)``.

    Raises:
        ValueError: a value outside its range.

    Source: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network (2015), section 2.
    """

    def __init__(
        self,
        loss: Callable[[Any, torch.Tensor], torch.Tensor],
        weight: float = 0.5,
        temperature: float = 2.0,
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= weight <= 1:
            raise ValueError(f"the teacher's weight must be from 0 to 1, got {weight}.")
        if not temperature > 0:
            raise ValueError(f"the temperature must be positive, got {temperature}.")
        self.loss, self.weight, self.temperature, self.sigmoid = loss, weight, temperature, sigmoid

    def forward(
        self, pred: torch.Tensor | Sequence[torch.Tensor], label: torch.Tensor, teacher: torch.Tensor
    ) -> torch.Tensor:
        """Logits of student and teacher, of one shape, and what ``loss`` takes as label, to one number.

        Of a list of predictions (deep supervision) the first is compared with the teacher, and ``loss`` gets all.

        Raises:
            ValueError: student and teacher predict different shapes.
        """
        final = pred if isinstance(pred, torch.Tensor) else pred[0]
        if final.shape != teacher.shape:
            raise ValueError(
                f"the network predicts {tuple(final.shape)}, its teacher {tuple(teacher.shape)}; "
                "train the teacher for the same classes and images."
            )
        pred_soft, teacher_soft = (x.float() / self.temperature for x in (final, teacher.detach()))
        if self.sigmoid:
            distance = F.binary_cross_entropy_with_logits(pred_soft, teacher_soft.sigmoid())
        else:
            log = F.log_softmax(pred_soft, 1), F.log_softmax(teacher_soft, 1)
            distance = F.kl_div(*log, reduction="none", log_target=True).sum(1).mean()
        return (1 - self.weight) * self.loss(pred, label) + self.weight * self.temperature**2 * distance
