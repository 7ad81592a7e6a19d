"""A figure of a classification as a MONAI metric, so that an evaluator can choose checkpoints by it."""

from __future__ import annotations

import torch
from monai.metrics import CumulativeIterationMetric

from medssm_monai.metrics.classification import CLASSIFICATION_METRICS, classification_metrics

__all__ = ["ClassificationMetric"]


class ClassificationMetric(CumulativeIterationMetric):
    """
    One figure of `classification_metrics` over all samples since the last `reset`, of all processes.

    Takes class probabilities `(N, K)` and labels `(N,)`, or lists of `(K,)` and scalar tensors, as decollated batches
    hold them. Wrap it in `monai.handlers.IgniteMetricHandler` for an evaluator.

    Args:
        name: one of `CLASSIFICATION_METRICS`, larger is better (all but `ece`).

    Raises:
        ValueError: unknown name; when aggregated, what `classification_metrics` raises, and an undefined figure
            (a class without a sample): no checkpoint can be chosen by it.
    """

    def __init__(self, name: str = "roc_auc") -> None:
        super().__init__()
        known = [metric for metric in CLASSIFICATION_METRICS if metric != "ece"]
        if name not in known:
            raise ValueError(f"a checkpoint is chosen by one of {', '.join(known)}, got {name!r}.")
        self.name = name

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None) -> list[torch.Tensor]:  # type: ignore[override]
        if y is None:
            raise ValueError("labels are needed to score a classification.")
        return [y_pred.float(), y]

    def aggregate(self) -> float:  # type: ignore[override]
        """The figure, in [0, 1]."""
        probabilities, labels = self.get_buffer()
        value = classification_metrics(probabilities, labels)[self.name]
        if value != value:
            present = sorted(set(labels.flatten().tolist()))
            raise ValueError(
                f"{self.name} is undefined: the samples have the labels {present} only. Give every class a sample in "
                "the validation part, or choose by accuracy."
            )
        return value
