"""The files of a fusion's evaluation: one row per pair and fusion, and a page to read."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssm_monai.handlers.fusion_summary import COPIES, FusedPair
from medssm_monai.handlers.report_page import (
    case_list,
    closing_facts,
    format_interval,
    format_number,
    page_head,
    write_page,
)
from medssm_monai.utils.shown_names import shown_name
from medssm_monai.utils.text_files import markdown_text, name_cell, open_text
from medssm_monai.utils.whole_file import replace_file

__all__ = ["write_fusion_report", "write_per_pair"]


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


def write_fusion_report(summary: dict[str, Any], path: Path) -> None:
    """The summary as a Markdown page."""
    percent = f"{summary['bootstrap']['confidence']:.0%}"
    lines = page_head(summary, "pairs")
    lines += ["", *_table(summary["rows"], "mean", percent, summary["sources"]), ""]
    if summary["lead"]:
        lines += [f"Fused minus the other rows, pair by pair, mean and {percent} interval:", ""]
        lines += [*_table(summary["lead"], "fused minus", percent, summary["sources"]), ""]
    facts = {
        "Conventions": "the metrics' names say whether the values of the two sources are averaged (_mean) or added "
        "(_sum); - is undefined (PSNR and SCD of a copy)",
        "psnr_pooled": "maximised by the average by definition: reported, no aim",
        "Sources": f"A: {summary['sources'][0]}, B: {summary['sources'][1]}; colour sources by their luminance",
        "Seconds per pair": f"{summary['seconds_per_pair']:.3f} (median, network and inferer alone)",
    }
    lines += closing_facts(summary, "pairs", facts)
    lines += case_list(summary)
    if summary["cases"]:
        lines += ["", f"![{summary['cases_by']}: worst, median and best cases](cases.png)", ""]
        lines.append(
            "The last picture of a row is the fused image minus the maximum of both sources: grey is no difference, "
            "black and white are what its heading says."
        )
    write_page(lines, path)
