"""A loss of the batch of all processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn

from ..utils.processes import whole_batch

__all__ = ["GlobalBatchLoss"]


class GlobalBatchLoss(nn.Module):
    """``loss(pred, label)`` of the batch that all processes of a training share; in one process, the loss itself.

    A Dice over the batch, a cross-entropy with class weights or a mean over labeled voxels is no mean of its values
    on parts of the batch. So each process gets the predictions and labels of all (:func:`~.whole_batch`) and computes
    the same number, with the gradient of its own part. That takes the memory that the loss takes in one process.

    Args:
        loss: of a batch; takes a tensor or, under deep supervision, a list of them, and the label.
    """

    def __init__(self, loss: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def forward(
        self, pred: torch.Tensor | list[torch.Tensor] | tuple[torch.Tensor, ...], label: torch.Tensor
    ) -> torch.Tensor:
        """Prediction and label of this process to the loss of all."""
        return self.loss(whole_batch(pred), whole_batch(label))
