"""Figures of a fusion as a MONAI metric, so that an evaluator can choose checkpoints by them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.metrics import CumulativeIterationMetric

from medssm_monai.metrics.fusion import fusion_metric_names, fusion_metrics

__all__ = ["FusionMetric"]


class FusionMetric(CumulativeIterationMetric):
    """
    Mean of some of `fusion_metrics` over all pairs since the last `reset`, of all processes.

    Takes fused images `(B, 1, *spatial)` and their sources `(B, 2, *spatial)`, or lists of both without batch axis, as
    decollated batches hold them. Wrap it in `monai.handlers.IgniteMetricHandler` for an evaluator.

    Args:
        names: one name or several of `FUSION_METRICS`, larger is better; several are averaged.

    Raises:
        ValueError: unknown names; when computed, what `fusion_metrics` raises; when aggregated, a figure that is
            undefined for every pair: no checkpoint can be chosen by it.
    """

    def __init__(self, names: str | Sequence[str] = ("ssim_mean", "qabf")) -> None:
        super().__init__()
        self.names = fusion_metric_names([names] if isinstance(names, str) else names)

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:  # type: ignore[override]
        if y is None:
            raise ValueError("the sources are needed to score a fusion.")
        scores = fusion_metrics(y_pred, y[:, :1], y[:, 1:], self.names)
        return torch.stack([scores[name] for name in self.names], dim=1).float()  # (B, names)

    def aggregate(self) -> float:  # type: ignore[override]
        """The mean."""
        value = float(self.get_buffer().nanmean())
        if value != value:
            raise ValueError(f"{', '.join(self.names)} is undefined for every pair; choose other metrics.")
        return value
