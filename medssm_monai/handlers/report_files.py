"""The files of an evaluation: one row per image, the figures of the data set, and a page to read."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssm_monai.handlers.report_page import (
    case_list,
    closing_facts,
    format_interval,
    format_number,
    page_head,
    write_page,
)
from medssm_monai.handlers.report_summary import ImageRecord
from medssm_monai.utils.shown_names import shown_name
from medssm_monai.utils.text_files import markdown_text, name_cell, open_text, write_text
from medssm_monai.utils.whole_file import replace_file

__all__ = ["write_per_image", "write_report", "write_summary"]

CASES = ("cases", "confident_errors")  # of a summary: lists that name files
_COUNT_COLUMNS = ("tp", "fp", "fn", "tn")


def write_per_image(records: Sequence[ImageRecord], path: Path) -> None:
    """Table with one row per image, in the order of the data; undefined scores are empty cells."""
    extra = [column for column in ("subset", "group") if any(getattr(record, column) for record in records)]
    columns = ["image", *extra, "height", "width", *records[0].scores, *_COUNT_COLUMNS]
    with replace_file(path) as temporary, open_text(temporary) as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for record in records:
            scores = ["" if math.isnan(value) else f"{value:.6f}" for value in record.scores.values()]
            names = [name_cell(getattr(record, column) or "") for column in extra]
            writer.writerow(
                [name_cell(shown_name(record.name)), *names, *record.size, *scores, *record.counts.tolist()]
            )


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: `null` instead."""
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


def _tables(summary: dict[str, Any]) -> list[str]:
    percent = f"{summary['bootstrap']['confidence']:.0%}"
    lines = [f"| per image | mean | {percent} interval | SD | median | images |", "|---|---|---|---|---|---|"]
    for name, entry in summary["per_image"].items():
        figures = [
            format_number(entry["mean"]),
            format_interval(entry),
            format_number(entry["sd"]),
            format_number(entry["median"]),
        ]
        lines.append(f"| {name} | {' | '.join(figures)} | {entry['images']} |")
    lines += ["", f"| pooled over all pixels | value | {percent} interval |", "|---|---|---|"]
    lines += [
        f"| {name} | {format_number(e['value'])} | {format_interval(e)} |" for name, e in summary["pooled"].items()
    ]
    if summary["data_set_curve"]:
        curve = summary["data_set_curve"]
        lines += ["", f"Maximum of the data set's mean E-measure curve: {format_number(curve['e_measure_max'])}"]
        lines[-1] += f" at threshold {curve['at_threshold']:.3f}."
    return lines


def write_report(summary: dict[str, Any], path: Path) -> None:
    """The summary as a Markdown page."""
    lines = page_head(summary, "images")
    lines += ["", *_tables(summary), ""]
    for name, part in summary.get("subsets", {}).items():
        lines += [f"## {markdown_text(name)} ({part['images']} images)", "", *_tables(part), ""]
    facts = {
        "Threshold": summary["threshold"],
        "Distances in": summary["distance_unit"],
        "Maps": "stretched to [0, 1] for the metrics over thresholds, S, E, weighted F and MAE"
        if summary["normalise"]
        else "as predicted",
    }
    lines += closing_facts(summary, "images", facts)
    lines += case_list(summary)
    if summary["overlays"]:
        lines += ["", f"![worst, median and best cases]({summary['overlays']})"]
    write_page(lines, path)
