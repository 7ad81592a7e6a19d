"""The Markdown page of a segmentation, of one class or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..utils.text_files import markdown_text
from .conformal import conformal_section
from .page import case_list, closing_facts, next_list, page_head, subgroup_tables, write_page
from .sanity import sanity_section

__all__ = ["write_segmentation_page"]


def write_segmentation_page(
    summary: dict[str, Any],
    path: Path,
    tables: Callable[[dict[str, Any]], Sequence[str]],
    facts: Mapping[str, Any],
    said: Sequence[str] = (),
) -> None:
    """Write the page.

    Args:
        summary: of the evaluation.
        path: the file.
        tables: lines of the tables of a summary, and of those of its subsets.
        facts: what the figures mean.
        said: lines below the tables.
    """
    lines = [*page_head(summary, "images"), "", *tables(summary), "", *said]
    for name, part in summary.get("subsets", {}).items():
        lines += [f"## {markdown_text(name)} ({part['images']} images)", "", *tables(part), ""]
    lines += [*sanity_section(summary, summary["per_image"]), *next_list(summary), *subgroup_tables(summary)]
    lines += conformal_section(summary["conformal"]) if "conformal" in summary else []
    lines += ["## Settings", "", *closing_facts(summary, "images", facts), *case_list(summary)]
    if summary["overlays"]:
        lines += ["", f"![worst, median and best cases]({summary['overlays']})"]
    write_page(lines, path)
