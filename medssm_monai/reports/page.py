"""What the pages of all evaluations share: the head, the facts at the end, and how figures are written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..utils.files import replace_file
from ..utils.shown_names import shown_name
from ..utils.text_files import markdown_text, write_text

__all__ = [
    "WEIGHTS",
    "case_list",
    "closing_facts",
    "format_interval",
    "format_number",
    "next_list",
    "page_facts",
    "page_head",
    "subgroup_tables",
    "write_page",
]

WEIGHTS = "weights"  # the detail that stands at the head of a page


def format_number(value: float) -> str:
    """Four decimals below ten, two above; ``-`` for undefined."""
    return "-" if math.isnan(value) else f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def format_interval(entry: dict[str, float]) -> str:
    """``low to high`` of an entry of a summary."""
    return f"{format_number(entry['low'])} to {format_number(entry['high'])}"


def page_head(summary: Mapping[str, Any], cases: str) -> list[str]:
    """Title, data, weights and warnings of the page; ``cases`` is what was counted ("images", "pairs")."""
    data = f"Data: **{markdown_text(summary['data'])}**, {summary['images']} {cases}"
    lines = [f"# Evaluation: {markdown_text(summary['name'])}", ""]
    lines.append(data + (f" in {summary['groups']} groups." if "groups" in summary else "."))
    if summary["details"].get(WEIGHTS):
        lines += ["", f"Weights: {markdown_text(summary['details'][WEIGHTS])}"]
    for warning in summary["warnings"]:
        lines += ["", f"> **Warning:** {markdown_text(warning)}."]
    return lines


def page_facts(summary: Mapping[str, Any], cases: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The evaluation's own ``facts``, then sizes, intervals, details and versions, by name."""
    bootstrap = summary["bootstrap"]
    unit = f"groups of {cases}" if bootstrap["unit"] == "group" else cases
    everything = dict(facts)
    if "image_sizes" in summary:
        everything["Image sizes"] = ", ".join(f"{size} ({n})" for size, n in summary["image_sizes"].items())
    return everything | {
        "Intervals": f"percentile bootstrap over {unit}, {bootstrap['n_resamples']} resamples, "
        f"seed {bootstrap['seed']}",
        **{name: value for name, value in summary["details"].items() if name != WEIGHTS},
        "Versions": ", ".join(f"{package} {version}" for package, version in summary["versions"].items()),
        "Written": summary["written"],
    }


def closing_facts(summary: Mapping[str, Any], cases: str, facts: Mapping[str, Any]) -> list[str]:
    """The list under the tables: :func:`page_facts`, one a line."""
    everything = page_facts(summary, cases, facts)
    return [f"- {markdown_text(name)}: {markdown_text(value)}" for name, value in everything.items()]


def next_list(summary: Mapping[str, Any]) -> list[str]:
    """The section of what to do next; nothing where the summary has none."""
    steps = [f"{number}. {markdown_text(step)}" for number, step in enumerate(summary.get("next_steps", ()), start=1)]
    return ["## What to do next", "", *steps, ""] if steps else []


def subgroup_tables(summary: Mapping[str, Any]) -> list[str]:
    """The section of subgroups, a table per column; nothing where there are none."""
    found = summary.get("subgroups")
    if not found:
        return []
    percent, unit = f"{summary['bootstrap']['confidence']:.0%}", found["unit"]
    lines = ["## Subgroups", ""]
    for column, values in found["columns"].items():
        lines += [f"| {markdown_text(column)} | images | {unit}s | mean {found['metric']} | {percent} interval |"]
        lines.append("|---" * 5 + "|")
        for value, entry in values.items():
            few = f"too few (under {found['fewest']} {unit}s)"
            interval = few if entry["too_few"] else format_interval(entry)
            counts = f"{entry['images']} | {entry['units']}"
            lines.append(f"| {markdown_text(value)} | {counts} | {format_number(entry['mean'])} | {interval} |")
        lines.append("")
    return lines


def case_list(summary: Mapping[str, Any]) -> list[str]:
    """The worst, median and best cases by file and figure; nothing where none were chosen."""
    if not summary["cases"]:
        return []
    named = [
        f"- {case['kind']}: {markdown_text(shown_name(case['image']))} ({format_number(case['score'])})"
        for case in summary["cases"]
    ]
    return ["", f"Worst, median and best by {summary['cases_by']}:", "", *named]


def write_page(lines: Sequence[str], path: Path) -> None:
    """Write the page, whole or not at all."""
    with replace_file(path) as temporary:
        write_text(temporary, "\n".join(lines) + "\n")
