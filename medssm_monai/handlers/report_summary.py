"""From the scores of single images to the figures of a data set."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from medssm_monai.metrics import bootstrap_interval, bootstrap_pooled
from medssm_monai.metrics.thresholds import THRESHOLDS

__all__ = ["ImageRecord", "common_groups", "package_versions", "score_table", "summarise"]


@dataclass
class ImageRecord:
    """What is kept of one image: scores, pixel counts (TP, FP, FN, TN) and, if asked for, the E-measure curve."""

    name: str
    size: tuple[int, int]
    scores: dict[str, float]
    counts: np.ndarray
    e_curve: np.ndarray | None = None
    group: str | None = None
    subset: str | None = None


class _Grouped(Protocol):
    group: str | None


def common_groups(records: Sequence[_Grouped]) -> list[str] | None:
    """The group of every record; `None` unless each has one, and single images are then resampled."""
    groups = [record.group for record in records if record.group is not None]
    return groups if len(groups) == len(records) else None


def package_versions() -> dict[str, str]:
    """Versions of what the figures depend on; a package that is not installed is left out."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version()}
    for package in ("medssm-monai", "monai", "torch", "pytorch-ignite", "numpy", "scipy", "scikit-learn"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    if "medssm-monai" not in versions:
        from medssm_monai import __version__

        versions["medssm-monai"] = __version__
    return versions


def score_table(
    scores: Sequence[Mapping[str, float]], bootstrap: Mapping[str, Any], groups: Sequence | None = None
) -> dict[str, dict[str, float]]:
    """
    Mean, bootstrap interval, SD and median of each metric over images.

    Args:
        scores: name to value for each image; NaN is undefined and left out.
        bootstrap: keyword arguments of `medssm_monai.metrics.bootstrap_interval`.
        groups: one group per image; whole groups are resampled.
    """
    table: dict[str, dict[str, float]] = {}
    for name in scores[0]:
        values = np.array([entry[name] for entry in scores], dtype=np.float64)
        defined = values[~np.isnan(values)]
        interval = bootstrap_interval(values, groups=groups, **bootstrap)
        table[name] = {
            "mean": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "sd": float(defined.std(ddof=1)) if len(defined) > 1 else float("nan"),
            "median": float(np.median(defined)) if len(defined) else float("nan"),
            "images": len(defined),
        }
    return table


def _data_set_curve(records: Sequence[ImageRecord]) -> dict[str, float]:
    """The "max E-measure" of published tables: the maximum over thresholds of the curve averaged over the images."""
    curves = [record.e_curve for record in records if record.e_curve is not None]
    if not curves:
        return {}
    curve = np.mean(curves, axis=0)
    return {"e_measure_max": float(curve.max()), "at_threshold": float(THRESHOLDS[curve.argmax()])}


def summarise(
    records: Sequence[ImageRecord], n_resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """
    Mean, SD, median and bootstrap interval per metric, and the scores pooled over all pixels.

    Args:
        records: one per image. When every record has a `group`, whole groups are resampled. When records carry
            different `subset` names (several test sets at once), each set gets the same figures of its own.
        n_resamples, confidence, seed: of the bootstrap.

    Returns:
        a dict that JSON can hold: `images`, `image_sizes`, `per_image`, `pooled`, `data_set_curve`, `bootstrap`, and
        `subsets` where there are several.

    Raises:
        ValueError: no records.
    """
    if not records:
        raise ValueError("no images were evaluated, there is nothing to summarise; check the data list.")
    groups = common_groups(records)
    bootstrap = {"n_resamples": n_resamples, "confidence": confidence, "seed": seed}
    pooled = bootstrap_pooled(np.stack([record.counts for record in records]), groups=groups, **bootstrap)
    sizes: dict[str, int] = {}
    for record in records:
        text = f"{record.size[0]} x {record.size[1]}"
        sizes[text] = sizes.get(text, 0) + 1
    summary: dict[str, Any] = {
        "images": len(records),
        "image_sizes": sizes,
        "per_image": score_table([record.scores for record in records], bootstrap, groups),
        "pooled": {name: {"value": i.estimate, "low": i.low, "high": i.high} for name, i in pooled.items()},
        "data_set_curve": _data_set_curve(records),
        "bootstrap": {**bootstrap, "method": "percentile", "unit": "image" if groups is None else "group"},
    }
    if groups is not None:
        summary["groups"] = len(set(groups))
    names = sorted({record.subset for record in records if record.subset is not None})
    if len(names) > 1:
        parts = {name: [record for record in records if record.subset == name] for name in names}
        summary["subsets"] = {
            name: summarise([_without_subset(record) for record in part], **bootstrap) for name, part in parts.items()
        }
    return summary


def _without_subset(record: ImageRecord) -> ImageRecord:
    return ImageRecord(record.name, record.size, record.scores, record.counts, record.e_curve, record.group)
