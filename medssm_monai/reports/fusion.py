"""The evaluation of a fusion: what is kept of a pair, the figures of the data set, the files."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..utils.files import replace_file
from ..utils.shown_names import shown_name
from ..utils.text_files import markdown_text, name_cell, open_text
from .page import (
    case_list,
    closing_facts,
    format_interval,
    format_number,
    next_list,
    page_head,
    subgroup_tables,
    write_page,
)
from .sanity import sanity_section
from .summary import Resampling, common_groups, score_table

__all__ = [
    "COPIES",
    "FUSED",
    "PLAIN_FUSIONS",
    "FusedPair",
    "fusion_facts",
    "summarize_fusion",
    "write_fusion_report",
    "write_per_pair",
]

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
    """What is kept of one pair: scores by row (``"fused"``, and the plain fusions), the seconds of the network, and
    whether the fused image shows nothing though a source does."""

    name: str
    size: tuple[int, ...]
    scores: dict[str, dict[str, float]]
    seconds: float
    group: str | None = None
    flat: bool = False


def _defined(scores: dict[str, float]) -> dict[str, float]:
    """Scores with what is not finite (the PSNR of a copy, its SCD) as undefined."""
    return {name: value if math.isfinite(value) else math.nan for name, value in scores.items()}


def summarize_fusion(
    pairs: Sequence[FusedPair], n_resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """Mean, SD, median and bootstrap interval of every row and metric, and the fused image's lead over the other rows.

    Args:
        pairs: when every one has a ``group``, whole groups are resampled.
        n_resamples, confidence, seed: of the bootstrap.

    Returns:
        a dict that JSON can hold: ``images`` (number of pairs), ``image_sizes``, ``rows`` (row, metric, figures),
        ``lead`` (the same of the differences fused minus row, pair by pair), ``seconds_per_pair``, ``bootstrap``, and
        ``groups`` where given.

    Raises:
        ValueError: no pairs.
    """
    if not pairs:
        raise ValueError("no pairs were evaluated, there is nothing to summarize; check the data list.")
    groups = common_groups(pairs)
    bootstrap: Resampling = {"n_resamples": n_resamples, "confidence": confidence, "seed": seed}
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


def write_per_pair(pairs: Sequence[FusedPair], path: Path) -> None:
    """Table with one row per pair and fusion, in the order of the data; undefined scores are empty cells."""
    grouped = any(pair.group is not None for pair in pairs)
    metrics = list(next(iter(pairs[0].scores.values())))
    with replace_file(path) as temporary, open_text(temporary) as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", *(["group"] if grouped else []), "size", "row", *metrics])
        for pair in pairs:
            size = "x".join(map(str, pair.size))
            for row, scores in pair.scores.items():
                values = ["" if math.isnan(scores[name]) else f"{scores[name]:.6f}" for name in metrics]
                names = [
                    name_cell(name)
                    for name in ([shown_name(pair.name), pair.group] if grouped else [shown_name(pair.name)])
                ]
                writer.writerow([*names, size, row, *values])


def _table(rows: dict[str, Any], head: str, percent: str, sources: Sequence[str]) -> list[str]:
    """Metrics down, fusions across."""
    copies = dict(zip(COPIES, sources, strict=True))
    names = [
        f"{row} ({markdown_text(copies[row])})" if row in copies and copies[row] != row[-1] else row for row in rows
    ]
    lines = [f"| {head} ({percent} interval) | {' | '.join(names)} |", "|---" * (len(rows) + 1) + "|"]
    for metric in next(iter(rows.values())):
        entries = [row[metric] for row in rows.values()]
        cells = [f"{format_number(e['mean'])} ({format_interval(e)})" if e["images"] else "-" for e in entries]
        lines.append(f"| {metric} | {' | '.join(cells)} |")
    return lines


def fusion_facts(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the figures mean."""
    return {
        "Conventions": "the metrics' names say whether the values of the two sources are averaged (_mean) or added "
        "(_sum); - is undefined (PSNR and SCD of a copy)",
        "psnr_pooled": "maximized by the average by definition: reported, no aim",
        "Sources": f"A: {summary['sources'][0]}, B: {summary['sources'][1]}; color sources by their luminance",
        "Seconds per pair": f"{summary['seconds_per_pair']:.3f} (median, network and inferer alone)",
    }


def write_fusion_report(summary: dict[str, Any], path: Path) -> None:
    """The summary as a Markdown page."""
    percent = f"{summary['bootstrap']['confidence']:.0%}"
    lines = page_head(summary, "pairs")
    lines += ["", *_table(summary["rows"], "mean", percent, summary["sources"]), ""]
    if summary["lead"]:
        lines += [f"Fused minus the other rows, pair by pair, mean and {percent} interval:", ""]
        lines += [*_table(summary["lead"], "fused minus", percent, summary["sources"]), ""]
    lines += [*sanity_section(summary, summary["rows"][FUSED]), *next_list(summary), *subgroup_tables(summary)]
    lines += ["## Settings", ""]
    facts = fusion_facts(summary)
    lines += closing_facts(summary, "pairs", facts)
    lines += case_list(summary)
    if summary["cases"]:
        lines += ["", f"![{summary['cases_by']}: worst, median and best cases](cases.png)", ""]
        lines.append(
            "The last picture of a row is the fused image minus the maximum of both sources: gray is no difference, "
            "black and white are what its heading says."
        )
    write_page(lines, path)
