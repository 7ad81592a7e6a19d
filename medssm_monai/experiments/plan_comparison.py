"""From the rows' folders to the lines of the table: what is done, intervals, and differences on the same images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..metrics.hierarchical import Statistics, bootstrap_hierarchical
from ..utils import replace_file
from .plan_rows import EVALUATING, read_record
from .plan_scores import FUSED, Scores, read_scores
from .plan_table import Line, markdown, summarize_rows, write_csv
from .plans import Plan

__all__ = ["write_table"]

logger = logging.getLogger(__name__)
N_RESAMPLES = 2000
METHOD = (
    f"95 %: percentile bootstrap, {N_RESAMPLES} resamples. A resample draws the test {{unit}} with replacement, the "
    "same ones for all rows, and for each row its trainings with replacement (scatter widened by sqrt(S / (S - 1)) for "
    "S of them); so the interval holds for other images and other seeds. Rows of one training: images alone."
)


def collect(plan: Plan, output: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of all rows and seeds, by row; where the folder has another one or none, the status says so."""
    records: dict[str, list[dict[str, Any]]] = {row.name: [] for row in plan.rows}
    for run in plan.runs:
        record = read_record(output / run.slug)
        if record is None:
            record = {"status": "not run"}
        elif record["fingerprint"] != plan.fingerprint(run.row, run.seed):
            record = {"status": "not run with these settings"}
        elif record["status"] == "done" and any(metric not in record.get("values", {}) for metric in plan.metrics):
            record = {**record, "status": "without the plan's metrics"}  # it is there after the row's next turn
        records[run.row.name].append(record)
    return records


def write_table(plan: Plan, output: Path, stem: str, title: str, command: str) -> str:
    """Write ``<stem>.csv`` and ``<stem>.md`` from what the folders of the rows hold; returns the page."""
    records = collect(plan, output)
    lines = summarize_rows(plan, records)
    notes = _resample(plan, output, records, lines)
    text = markdown(lines, plan, title, command, notes)
    with FileLock(output / f".{stem}.lock"):
        with replace_file(output / f"{stem}.csv") as part:
            write_csv(lines, part)
        with replace_file(output / f"{stem}.md") as part:
            part.write_text(text, encoding="utf8")
    return text


def _resample(plan: Plan, output: Path, records: dict[str, list[dict[str, Any]]], lines: list[Line]) -> list[str]:
    """Put intervals and differences into the lines, add those of fusions without a network, and say how in notes."""
    found: dict[str, list[Scores]] = {}
    notes: list[str] = []
    for run, record in zip(plan.runs, _in_order(plan, records), strict=True):
        if record["status"] == "done" and record.get("per_image"):
            folder = output / run.slug / EVALUATING
            try:
                scores = read_scores(folder, plan.metrics, plan.group)
            except (OSError, ValueError) as error:  # a wrong expression for groups must not end the other trainings
                notes.append(f"{run.name} has no interval and is not compared: {error}.")
                continue
            found.setdefault(run.row.name, []).append(scores)
    if not found:
        return notes
    first = found.get(plan.reference or "", next(iter(found.values())))[0]
    other = [name for name, scores in found.items() if any(s.images != first.images for s in scores)]
    for name in other:
        notes.append(f"{name}: evaluated on other images than the rest, so it is not compared.")
        del found[name]
    rows: dict[str, list[Statistics]] = {name: [s.statistics[FUSED] for s in scores] for name, scores in found.items()}
    plain = {f"{name} (no training)": [made] for name, made in first.statistics.items() if name != FUSED}
    rows |= plain
    reference = plan.reference if plan.reference in found else None
    compared = bootstrap_hierarchical(
        rows, len(first.images), plan.metrics, reference, N_RESAMPLES, groups=first.groups
    )
    for name in plain:
        facts = {"name": name, "status": "done", "seeds": 0, "images": len(first.images), "parameters": 0}
        lines += [{**facts, "metric": metric} for metric in plan.metrics]
    for line in lines:
        entry = compared.get(line["name"], {}).get(line["metric"])
        if entry is None:
            continue
        if line["seeds"] != 1 or first.groups is not None:
            line |= {"low": entry.mean.low, "high": entry.mean.high}
        line.setdefault("value", entry.mean.estimate)
        if entry.difference is not None:
            estimate, low, high = entry.difference
            line |= {"difference": estimate, "difference_low": low, "difference_high": high}
    unit = "images or pairs" if first.groups is None else f"groups ({len(set(first.groups))})"
    return [METHOD.format(unit=unit), *notes]


def _in_order(plan: Plan, records: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Records in the order of ``plan.runs``."""
    return [records[run.row.name][plan.seeds.index(run.seed)] for run in plan.runs]
