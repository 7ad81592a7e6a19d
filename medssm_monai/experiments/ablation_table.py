"""The table that comes out of ablations: all digits as CSV, and a page to read."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .ablation_plan import Plan

__all__ = ["COLUMNS", "markdown", "write_csv"]

COLUMNS = {
    "name": "row",
    "status": "status",
    "input_shape": "input",
    "parameters": "parameters",
    "convolutions": "MAC of the 2D/3D convolutions",
    "total": "MAC of all convolutions and matrix products",
    "scan_flops": "scan operations",
    "value": "metric",
    "low": "95% low",
    "high": "95% high",
    "images": "test images",
    "training_seconds": "training seconds",
    "data": "data",
    "error": "error",
}
"""Column of the CSV file -> what it holds."""


def write_csv(records: Iterable[Mapping[str, Any]], file: Path) -> None:
    """The table with all digits; columns as in :data:`COLUMNS`."""
    with file.open("w", newline="", encoding="utf8") as stream:
        writer = csv.DictWriter(stream, list(COLUMNS), extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(records)


def markdown(records: Sequence[Mapping[str, Any]], plan: Plan, command: str) -> str:
    """The table as a page to read, with the counting conventions, the data and what failed below it."""
    head = ["", "input", "parameters", "convolutions, GMAC", "total, GMAC", "scan, GFLOP", plan.metric, "95 %", "s"]
    lines = [f"# Ablations of {plan.bundle.name}", "", f"`{command}`", ""]
    data = sorted({str(record["data"]) for record in records if record.get("data")})
    if any("synthetic" in name for name in data):
        lines += ["**Synthetic demo data: these figures show that the runs work, not what the parts are worth.**", ""]
    lines += [f"Data: {', '.join(data) or 'no row is complete'}.", ""]
    lines += ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for record in records:
        cells = [record["name"], record.get("input_shape", ""), _count(record, "parameters")]
        cells += [_giga(record, key) for key in ("convolutions", "total", "scan_flops")]
        interval = f"{record['low']:.3f} to {record['high']:.3f}" if "low" in record else ""
        value = f"{record['value']:.3f}" if "value" in record else record["status"]
        cells += [value, interval, _count(record, "training_seconds")]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "`convolutions`: multiply-accumulates of the 2D and 3D convolutions alone. `total`: those of all convolutions "
        "and matrix products. Scan: 9 operations per token, channel and state, in neither of them. Interval: bootstrap "
        "over the test images (or their groups). Seconds: the whole training program, on the machine that ran it.",
    ]
    failed = [record for record in records if record.get("error")]
    lines += ["", *(f"* **{record['name']}** {record['status']}: {record['error']}" for record in failed)]
    return "\n".join(lines).rstrip() + "\n"


def _count(record: Mapping[str, Any], key: str) -> str:
    return f"{round(record[key]):,}" if key in record else ""


def _giga(record: Mapping[str, Any], key: str) -> str:
    return f"{record[key] / 1e9:.3g}" if key in record else ""
