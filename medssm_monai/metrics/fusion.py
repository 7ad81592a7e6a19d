"""All fusion metrics by name, and their cumulative form for MONAI's engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.metrics import CumulativeIterationMetric

from . import fusion_statistics as statistics
from .fusion_fsim import fsim
from .fusion_similarity import qabf, ssim, vif
from .fusion_statistics import as_grays

__all__ = ["FUSION_METRICS", "FusionMetric", "fusion_metric_names", "fusion_metrics"]

Score = Callable[..., torch.Tensor]
_CHUNK = 32  # slices of a volume that are scored at once


def _arithmetic(fused: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    return statistics.normalized_mutual_information(fused, source, kind="arithmetic")


_PAIRWISE: dict[str, Score] = {
    "psnr": statistics.psnr,
    "ssim": ssim,
    "mi": statistics.mutual_information,
    "nmi": statistics.normalized_mutual_information,
    "qmi": _arithmetic,
    "fsim": fsim,
    "vif": vif,
}
_FUSED_ONLY: dict[str, Score] = {
    "entropy": statistics.entropy,
    "sf": statistics.spatial_frequency,
    "sd": statistics.standard_deviation,
}
_BOTH: dict[str, Score] = {
    "psnr_pooled": statistics.psnr,
    "scd_mean": statistics.scd_mean,
    "scd_sum": statistics.scd_sum,
    "qabf": qabf,
}
_SLICEWISE = ("ssim", "fsim", "vif", "sf", "qabf")
FUSION_METRICS: tuple[str, ...] = (
    *("psnr_pooled", "psnr_mean", "psnr_sum", "ssim_mean", "ssim_sum", "entropy", "mi_mean", "mi_sum"),
    *("nmi_mean", "nmi_sum", "qmi_mean", "qmi_sum", "fsim_mean", "fsim_sum", "sf", "sd", "scd_mean", "scd_sum"),
    *("vif_mean", "vif_sum", "qabf"),
)
"""Names of :func:`fusion_metrics`, which explains them."""


def fusion_metric_names(metrics: Sequence[str] | None = None) -> tuple[str, ...]:
    """The given names after a check, all of :data:`FUSION_METRICS` for None.

    Raises:
        ValueError: unknown names; the message lists what there is.
    """
    names = FUSION_METRICS if metrics is None else tuple(dict.fromkeys(metrics))
    unknown = [name for name in names if name not in FUSION_METRICS]
    if unknown or not names:
        raise ValueError(f"unknown fusion metrics {unknown}; choose from {list(FUSION_METRICS)}.")
    return names


def fusion_metrics(
    fused: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    metrics: Sequence[str] | None = None,
    data_range: float = 1.0,
) -> dict[str, torch.Tensor]:
    """Score fused images against their two sources.

    Papers disagree on how the values of the two sources become one; the name says it: ``_mean`` is half of ``_sum``.

    * ``psnr_pooled``: the squared errors of both sources averaged before the logarithm, in dB (maximized by the average
      of the sources); ``psnr_mean``, ``psnr_sum``: of the two PSNR, infinite for a copy.
    * ``ssim_mean``, ``ssim_sum``; ``fsim_mean``, ``fsim_sum``; ``vif_mean``, ``vif_sum`` (VIF is usually the sum).
    * ``mi_mean``, ``mi_sum``: mutual information in bits (usually the sum); ``nmi_*``: Studholme's normalized mutual
      information, 1 to 2 for each source; ``qmi_*``: ``2·MI / (H(F) + H(S))``, whose sum is Hossny's metric.
    * ``scd_sum`` (the definition), ``scd_mean``; ``qabf``: one value from both sources.
    * ``entropy`` in bits; ``sf``, ``sd`` in 8-bit gray levels: of the fused image alone.

    Volumes: ``ssim``, ``fsim``, ``vif``, ``sf`` and ``qabf`` are defined on planes and are averaged over the slices of
    the last axis in which neither source is constant (Decision; empty slices would count as perfect); the others take
    all voxels at once.

    Args:
        fused, a, b: ``(B, 1, H, W)`` or ``(B, 1, X, Y, Z)`` in [0, ``data_range``], one shape.
        metrics: names of :data:`FUSION_METRICS`; None for all.
        data_range: value that stands for white.

    Returns:
        name to ``(B,)`` float64, in the order asked for; NaN where a score is undefined for an image (constant source;
        SCD of a copy; a volume without a slice to score).

    Raises:
        ValueError: unknown names, shapes that differ or are no gray images, images too small for a metric's window,
            values that are not finite or outside the range.
    """
    names = fusion_metric_names(metrics)
    images = as_grays(fused, a, b, data_range=data_range)
    done: dict[tuple[str, int], torch.Tensor] = {}

    def pair(kind: str, source: int) -> torch.Tensor:
        if (kind, source) not in done:
            done[kind, source] = _score(kind, _PAIRWISE[kind], images[0], images[source])
        return done[kind, source]

    scores = {}
    for name in names:
        kind, _, convention = name.partition("_")
        if name in _FUSED_ONLY:
            scores[name] = _score(name, _FUSED_ONLY[name], images[0], sources=images[1:])
        elif name in _BOTH:
            scores[name] = _score(kind, _BOTH[name], *images)
        else:
            total = pair(kind, 1) + pair(kind, 2)
            scores[name] = total / 2 if convention == "mean" else total
    return scores


def _score(kind: str, score: Score, *images: torch.Tensor, sources: Sequence[torch.Tensor] = ()) -> torch.Tensor:
    """``(B,)``; slice by slice for the metrics of planes."""
    if images[0].ndim == 4 or kind not in _SLICEWISE:
        return score(*images)
    batch, _, _, _, depth = images[0].shape
    varying = _varying(sources or images[1:])
    planes = [image.movedim(-1, 1).flatten(0, 1)[varying.flatten()] for image in images]  # (chosen, 1, X, Y)
    values = torch.full((batch * depth,), torch.nan, dtype=torch.float64, device=images[0].device)
    chunks = [score(*chunk) for chunk in zip(*(p.split(_CHUNK) for p in planes), strict=True) if len(chunk[0])]
    values[varying.flatten()] = torch.cat(chunks) if chunks else values[:0]
    return values.view(batch, depth).nanmean(1)


def _varying(sources: Sequence[torch.Tensor]) -> torch.Tensor:
    """Slices ``(B, Z)`` of the last axis in which none of the sources is constant."""
    spans = [source.flatten(1, 3).amax(1) - source.flatten(1, 3).amin(1) for source in sources]
    return torch.stack(spans).amin(0) > 0


class FusionMetric(CumulativeIterationMetric):
    """Mean of some of ``fusion_metrics`` over all pairs since the last ``reset``, of all processes.

    Takes fused images ``(B, 1, *spatial)`` and their sources ``(B, 2, *spatial)``, or lists of both without batch axis,
    as decollated batches hold them. Wrap it in ``monai.handlers.IgniteMetricHandler`` for an evaluator.

    Args:
        names: one name or several of ``FUSION_METRICS``, larger is better; several are averaged.

    Raises:
        ValueError: unknown names; when computed, what ``fusion_metrics`` raises; when aggregated, a figure that is
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

    def aggregate(self) -> float:
        """The mean."""
        value = float(self.get_buffer().nanmean())
        if value != value:
            raise ValueError(f"{', '.join(self.names)} is undefined for every pair; choose other metrics.")
        return value
