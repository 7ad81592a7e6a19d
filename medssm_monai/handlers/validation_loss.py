"""The training's loss on the validation set, as a metric of the evaluator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from ignite.engine import Engine, Events
from ignite.exceptions import NotComputableError
from ignite.metrics import Metric
from ignite.metrics.metric import MetricUsage
from monai.engines import IterationEvents
from monai.networks.utils import one_hot
from monai.utils import CommonKeys

from .evaluation_report import gather_lists

__all__ = ["ValidationLoss"]


class _BeforePostprocessing(MetricUsage):
    """Updates when the network has answered, and before a MONAI evaluator decollates and post-processes."""

    usage_name = "before_postprocessing"

    def __init__(self) -> None:
        super().__init__(Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, IterationEvents.FORWARD_COMPLETED)


BEFORE_POSTPROCESSING = _BeforePostprocessing()


class ValidationLoss(Metric):
    """Ignite metric for a MONAI evaluator: the training's loss function on what the network gives, before
    post-processing, averaged over the images of all ranks.

    Hand it to the evaluator under ``additional_metrics``; it draws no random numbers and takes no part in choosing the
    best epoch. Predictions are taken as float32, also under mixed precision.

    Args:
        loss_function: ``loss_function(pred, label)`` of a batch gives one number, the mean over its images.
        num_classes: for a training whose labels are probabilities (mixed images): class numbers become probabilities
            ``(B, num_classes)`` here too, so that both losses are on one scale. ``None`` leaves labels as they are.
        at_once: for small predictions, such as class scores, and a loss whose mean over a batch depends on what else is
            in it, such as a cross-entropy with class weights: all predictions and labels are kept, and the loss is
            computed once. Else each batch's loss counts with its number of images.

    Raises:
        ValueError: a batch without labels, or a loss that is not one number.
    """

    def __init__(
        self,
        loss_function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        num_classes: int | None = None,
        at_once: bool = False,
    ) -> None:
        self.loss_function, self.num_classes, self.at_once = loss_function, num_classes, at_once
        super().__init__(output_transform=_pred_and_label)

    def attach(self, engine: Engine, name: str, usage: str | MetricUsage = BEFORE_POSTPROCESSING) -> None:
        """Attach to an evaluator, which puts the loss into ``engine.state.metrics[name]``."""
        super().attach(engine, name, usage)

    def reset(self) -> None:
        self._losses: list[tuple[float, int]] = []
        self._kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(self, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        pred, label = output
        if self.num_classes is not None:
            label = one_hot(label.reshape(len(pred), 1), self.num_classes)
        if self.at_once:
            self._kept.append((pred.cpu(), label.cpu()))
        else:
            self._losses.append((self._loss(pred, label), len(pred)))

    def compute(self) -> float:
        losses, kept = gather_lists(self._losses, self._kept)
        if kept:
            device = self._device_of_loss()
            pred, label = (torch.cat(tensors).to(device) for tensors in zip(*kept, strict=True))
            return self._loss(pred, label)
        images = sum(count for _, count in losses)
        if images == 0:
            raise NotComputableError("no images were evaluated, there is no validation loss; check the data list.")
        return sum(loss * count for loss, count in losses) / images

    def _loss(self, pred: torch.Tensor, label: torch.Tensor) -> float:
        loss = self.loss_function(pred, label)
        if loss.numel() != 1:
            raise ValueError(f"the loss of a batch must be one number, got shape {tuple(loss.shape)}.")
        return float(loss)

    def _device_of_loss(self) -> torch.device:
        """Where the loss keeps its class weights; the CPU without any."""
        buffers = self.loss_function.buffers() if isinstance(self.loss_function, torch.nn.Module) else iter(())
        return next((buffer.device for buffer in buffers), torch.device("cpu"))


def _pred_and_label(output: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Prediction and label of a batch as plain tensors without gradients."""
    if not isinstance(output, dict) or output.get(CommonKeys.LABEL) is None:
        raise ValueError("the validation loss needs labels; validate on labelled data, or leave the metric out.")
    pred, label = (
        torch.as_tensor(output[key]).detach().as_subclass(torch.Tensor) for key in (CommonKeys.PRED, CommonKeys.LABEL)
    )
    return pred.float(), label
