"""The page of a segmentation: figures per image, pooled and per class, their distribution, and outlined cases."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..metrics.class_overlap import CLASS_OVERLAP
from .html_conformal import conformal_sections
from .html_images import chart, picture_source, png_source
from .html_markup import Html, element, stack, table
from .html_page import Section, case_figures, interval_cell, write_html
from .page import format_interval, format_number
from .segmentation import segmentation_facts
from .segmentation_classes import class_facts

__all__ = ["distribution_chart", "write_segmentation_html"]


def write_segmentation_html(
    summary: Mapping[str, Any],
    path: Path,
    scores: Mapping[str, Sequence[float]],
    panels: Sequence[np.ndarray],
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write the page.

    Args:
        summary: of ``summarize`` or ``summarize_classes``, with its cases and next steps.
        path: the file.
        scores: the metric that chooses the cases of each image; by class where there are several.
        panels: a picture of each case, uint8 ``(H, W, 3)``; none where none were kept.
        provenance: see :func:`~.html_page.write_html`.
    """
    of_classes = "classes" in summary
    tables = _class_tables if of_classes else _tables
    figures = [*tables(summary), distribution_chart(scores, summary["cases_by"], "images")]
    sections = [Section("figures", "Figures", stack(figures))]
    for number, (name, part) in enumerate(summary.get("subsets", {}).items(), start=1):
        sections.append(Section(f"subset-{number}", f"{name} ({part['images']} images)", stack(tables(part))))
    sections += conformal_sections(summary)
    if panels:
        seen = "Image, and the outlines of label (cyan) and prediction (yellow)"
        seen = "Image, label and prediction, each class in its color" if of_classes else seen
        sources = [picture_source(panel) for panel in panels]
        said = element("p", f"Worst, median and best by {summary['cases_by']}. {seen}.")
        cases = case_figures(summary["cases"], summary["cases_by"], sources, seen)
        shown = cases if of_classes else element("div", cases, class_="pairs")
        sections.append(Section("cases", "Cases", stack([said, shown])))
    facts = class_facts(summary) if of_classes else segmentation_facts(summary)
    write_html(path, summary, "images", summary["per_image"], sections, facts, provenance)


def distribution_chart(scores: Mapping[str, Sequence[float]], metric: str, counted: str) -> Html:
    """How the scores are distributed, as a chart."""
    from ..visualize.distribution import plot_distribution

    stream = io.BytesIO()
    plot_distribution(scores, metric, stream, counted)
    alt = f"Distribution of {metric} over the {counted}"
    alt += "" if len(scores) == 1 else ", a row each: points, quartiles (box), median (bar) and mean (diamond)"
    return element("div", chart(png_source(stream.getvalue()), alt, alt), class_="charts")


def _tables(summary: Mapping[str, Any]) -> list[Html]:
    percent = f"{summary['bootstrap']['confidence']:.0%}"
    rows = [
        [
            name,
            format_number(entry["mean"]),
            format_interval(entry),
            format_number(entry["sd"]),
            format_number(entry["median"]),
            entry["images"],
        ]
        for name, entry in summary["per_image"].items()
    ]
    head = ["metric", "mean", f"{percent} interval of the mean", "SD", "median", "images"]
    pooled = [[name, format_number(e["value"]), format_interval(e)] for name, e in summary["pooled"].items()]
    parts = [
        table("Per image", head, rows),
        table("Pooled over all pixels", ["metric", "value", f"{percent} interval"], pooled),
    ]
    if summary["data_set_curve"]:
        curve = summary["data_set_curve"]
        said = f"Maximum of the data set's mean E-measure curve: {format_number(curve['e_measure_max'])} at threshold "
        parts.append(element("p", f"{said}{curve['at_threshold']:.3f}."))
    return parts


def _class_tables(summary: Mapping[str, Any]) -> list[Html]:
    percent = f"{summary['bootstrap']['confidence']:.0%}"
    units = {"volume_difference": summary["volume_unit"], "hd95": summary["distance_unit"]}
    metrics = list(summary["per_image"])
    titles = [f"{name} ({units[name]})" if name in units else name for name in metrics]
    rows = [
        [name, *(interval_cell(entry[m], "mean") for m in metrics), *(entry[k] for k in _CLASS_COUNTS)]
        for name, entry in summary["classes"].items()
    ]
    if len(rows) > 1:
        means = [interval_cell(summary["per_image"][metric], "mean") for metric in metrics]
        rows.append(["mean of an image's classes", *means, "", "", ""])
    head = ["class", *titles, "in labels", "predicted only", "missed"]
    pooled = [
        [name, *(interval_cell(entry["pooled"][metric]) for metric in CLASS_OVERLAP)]
        for name, entry in summary["classes"].items()
    ]
    return [
        table(f"Each class: mean over images ({percent} interval)", head, rows, kind="wide"),
        table(f"Pooled over all images ({percent} interval)", ["class", *CLASS_OVERLAP], pooled, kind="wide"),
        element("p", f"Absent classes: {summary['absent_classes']}."),
    ]


_CLASS_COUNTS = ("present", "predicted_only", "missed")
