"""From the scores of fused pairs to the figures of a data set, beside those of the simplest fusions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from medssm_monai.handlers.report_summary import common_groups, score_table

__all__ = ["COPIES", "FUSED", "FusedPair", "PLAIN_FUSIONS", "summarise_fusion"]

FUSED = "fused"
COPIES = ("copy of A", "copy of B")
PLAIN_FUSIONS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "average": lambda a, b: (a + b) / 2,
    "maximum": torch.maximum,
    COPIES[0]: lambda a, b: a,
    COPIES[1]: lambda a, b: b,
}
"""Fusions that need no network, by the name of their row."""


@dataclass
class FusedPair:
    """What is kept of one pair: scores by row (`"fused"`, and the plain fusions) and the seconds of the network."""

    name: str
    size: tuple[int, ...]
    scores: dict[str, dict[str, float]]
    seconds: float
    group: str | None = None


def _defined(scores: dict[str, float]) -> dict[str, float]:
    """Scores with what is not finite (the PSNR of a copy, its SCD) as undefined."""
    return {name: value if math.isfinite(value) else math.nan for name, value in scores.items()}


def summarise_fusion(
    pairs: Sequence[FusedPair], n_resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """
    Mean, SD, median and bootstrap interval of every row and metric, and the fused image's lead over the other rows.

    Args:
        pairs: when every one has a `group`, whole groups are resampled.
        n_resamples, confidence, seed: of the bootstrap.

    Returns:
        a dict that JSON can hold: `images` (number of pairs), `image_sizes`, `rows` (row, metric, figures), `lead` (the
        same of the differences fused minus row, pair by pair), `seconds_per_pair`, `bootstrap`, and `groups` where
        given.

    Raises:
        ValueError: no pairs.
    """
    if not pairs:
        raise ValueError("no pairs were evaluated, there is nothing to summarise; check the data list.")
    groups = common_groups(pairs)
    bootstrap = {"n_resamples": n_resamples, "confidence": confidence, "seed": seed}
    sizes = [" x ".join(map(str, pair.size)) for pair in pairs]
    scores = {row: [_defined(pair.scores[row]) for pair in pairs] for row in pairs[0].scores}
    leads = {
        row: [
            {name: own[name] - value for name, value in other.items()}
            for own, other in zip(scores[FUSED], others, strict=True)
        ]
        for row, others in scores.items()
        if row != FUSED
    }
    summary: dict[str, Any] = {
        "images": len(pairs),
        "image_sizes": {size: sizes.count(size) for size in dict.fromkeys(sizes)},
        "rows": {row: score_table(entries, bootstrap, groups) for row, entries in scores.items()},
        "lead": {row: score_table(entries, bootstrap, groups) for row, entries in leads.items()},
        "seconds_per_pair": float(np.median([pair.seconds for pair in pairs])),
        "bootstrap": {**bootstrap, "method": "percentile", "unit": "pair" if groups is None else "group"},
    }
    if groups is not None:
        summary["groups"] = len(set(groups))
    return summary
