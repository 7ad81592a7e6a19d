"""The table that comes out of an evaluation of robustness: all digits as CSV, and a page to read."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .robustness_rows import CLEAN, STRENGTHS

__all__ = ["COLUMNS", "markdown", "write_csv"]

COLUMNS = (
    *("row", "metric", "value", "low", "high", "difference", "difference_low", "difference_high"),
    *("images", "data", "seconds", "status", "error"),
)


def write_csv(records: Sequence[Mapping[str, Any]], file: Path) -> None:
    """One line per row and metric, with all digits; a row that failed has one line."""
    with file.open("w", newline="", encoding="utf8") as stream:
        writer = csv.DictWriter(stream, list(COLUMNS), extrasaction="ignore", restval="")
        writer.writeheader()
        for record in records:
            shared = {**record, "row": record["name"]}
            for metric, entry in record.get("figures", {None: {}}).items():
                writer.writerow({**shared, "metric": metric or "", **entry})


def markdown(records: Sequence[Mapping[str, Any]], metrics: Sequence[str], title: str, command: str) -> str:
    """The table as a page to read, with what the strengths are and what failed below it."""
    lines = [f"# Robustness of {title}", "", f"`{command}`", ""]
    done = [record for record in records if record["status"] == "done"]
    data = sorted({str(record["data"]) for record in done})
    if any("synthetic" in name for name in data):
        lines += ["**Synthetic demo data: these figures show that the runs work, not what the weights are worth.**", ""]
    counts = sorted({record["images"] for record in done})
    lines += [f"Weights: {next((record['weights'] for record in done), 'no row is complete')}.", ""]
    lines += [f"Data: {', '.join(data) or 'no row is complete'}, {' or '.join(map(str, counts)) or 'no'} images.", ""]
    head = [cell for metric in metrics for cell in (f"{metric} (95 %)", "difference to clean (95 %)")]
    lines += ["| | " + " | ".join(head) + " |", "|---" + "|---:" * len(head) + "|"]
    for record in records:
        entries = record.get("figures", {})
        cells = [cell for metric in metrics for cell in _cells(record, entries.get(metric))]
        lines.append("| " + " | ".join([record["name"], *cells]) + " |")
    lines += [
        "",
        "Corruptions come after the images are loaded to [0, 1] and resized, and before the normalization. Differences "
        "are those of the same images, with intervals from a paired bootstrap over them (or their groups); bold where "
        "the interval excludes 0.",
        "",
        *(f"* `{name}`: {meaning}" for name, (_, _, meaning) in STRENGTHS.items()),
        "* `size`, `zoom`: the network gets the images at another size, or larger by this factor.",
        "",
        *(f"* **{record['name']}** failed: {record['error']}" for record in records if record.get("error")),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _cells(record: Mapping[str, Any], entry: Mapping[str, Any] | None) -> tuple[str, str]:
    if entry is None:
        return record["status"], ""
    value = _interval(entry["value"], entry["low"], entry["high"])
    if record["name"] == CLEAN:
        return value, ""
    bounds = entry["difference_low"], entry["difference_high"]
    shown = _interval(entry["difference"], *bounds, sign="+")
    excludes = None not in bounds and (bounds[0] > 0 or bounds[1] < 0)
    return value, f"**{shown}**" if excludes else shown


def _interval(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
    if value is None:
        return "undefined"
    shown = f"{value:{sign}.3f}"
    return shown if low is None or high is None else f"{shown} ({low:{sign}.3f} to {high:{sign}.3f})"
