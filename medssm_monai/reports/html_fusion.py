"""The page of a fusion: figures beside the plain fusions, their distribution, and the pairs with their fused images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .fusion import COPIES, FUSED, fusion_facts
from .html_images import picture_source
from .html_markup import Html, element, stack, table
from .html_page import Section, case_figures, interval_cell, write_html
from .html_segmentation import distribution_chart

__all__ = ["write_fusion_html"]


def write_fusion_html(
    summary: Mapping[str, Any],
    path: Path,
    scores: Mapping[str, Sequence[float]],
    panels: Sequence[np.ndarray],
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write the page.

    Args:
        summary: of ``summarize_fusion``, with its cases and next steps.
        path: the file.
        scores: row (fused, average, ...) -> the metric that chooses the cases, of each pair.
        panels: a picture of each case, uint8 ``(H, W, 3)``.
        provenance: see :func:`~.html_page.write_html`.
    """
    percent = f"{summary['bootstrap']['confidence']:.0%}"
    parts = [_table(summary, "rows", f"Mean over the pairs ({percent} interval)")]
    if summary["lead"]:
        parts.append(_table(summary, "lead", f"Fused minus the other rows, pair by pair: mean ({percent} interval)"))
    parts.append(distribution_chart(scores, summary["cases_by"], "pairs"))
    sections = [Section("figures", "Figures", stack(parts))]
    if panels:
        first, second = summary["sources"]
        seen = f"{first}, {second}, the fused image, and fused minus the maximum of both (gray is no difference)"
        sources = [picture_source(panel) for panel in panels]
        said = element("p", f"Worst, median and best by {summary['cases_by']}. From left to right: {seen}.")
        figures = case_figures(summary["cases"], summary["cases_by"], sources, seen)
        sections.append(Section("cases", "Cases", stack([said, figures])))
    write_html(path, summary, "pairs", summary["rows"][FUSED], sections, fusion_facts(summary), provenance)


def _table(summary: Mapping[str, Any], key: str, caption: str) -> Html:
    """Metrics down, fusions across."""
    rows = summary[key]
    copies = dict(zip(COPIES, summary["sources"], strict=True))
    names = [f"{row} ({copies[row]})" if row in copies and copies[row] != row[-1] else row for row in rows]
    body = [
        [metric, *(interval_cell(row[metric], "mean") if row[metric]["images"] else "-" for row in rows.values())]
        for metric in next(iter(rows.values()))
    ]
    return table(caption, ["metric", *names], body, kind="wide")
