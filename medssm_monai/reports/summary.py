"""What the summaries of all evaluations share: figures with their intervals, and the file that holds them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypedDict

import numpy as np

from ..metrics import bootstrap_interval
from ..utils.files import replace_file
from ..utils.shown_names import shown_name
from ..utils.text_files import write_text

__all__ = ["Resampling", "common_groups", "score_table", "write_summary"]


class _Grouped(Protocol):
    group: str | None


def common_groups(records: Sequence[_Grouped]) -> list[str] | None:
    """The group of every record; ``None`` unless each has one, and single images are then resampled."""
    groups = [record.group for record in records if record.group is not None]
    return groups if len(groups) == len(records) else None


class Resampling(TypedDict):
    """Keyword arguments of the functions in :mod:`medssm_monai.metrics.bootstrap`."""

    n_resamples: int
    confidence: float
    seed: int


def score_table(
    scores: Sequence[Mapping[str, float]], bootstrap: Resampling, groups: Sequence | None = None
) -> dict[str, dict[str, float]]:
    """Mean, bootstrap interval, SD and median of each metric over images.

    Args:
        scores: name to value for each image; NaN is undefined and left out.
        bootstrap: keyword arguments of ``medssm_monai.metrics.bootstrap_interval``.
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


CASES = ("cases", "confident_errors")  # of a summary: lists that name files


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: ``null`` instead."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_summary(summary: dict[str, Any], path: Path) -> None:
    """The summary as JSON, with files as they may be shown."""
    named = {
        key: [{**case, "image": shown_name(case["image"])} for case in summary[key]] for key in CASES if key in summary
    }
    with replace_file(path) as temporary:
        write_text(temporary, json.dumps(_without_nan({**summary, **named}), indent=2) + "\n")
