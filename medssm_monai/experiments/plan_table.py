"""The table that comes out of a plan: all digits as CSV, and a page to read."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..utils.text_files import open_text
from .plans import Plan

__all__ = ["COLUMNS", "fold_page", "markdown", "summarize_rows", "training_lines", "write_csv", "write_trainings"]

COLUMNS = {
    "name": "row",
    "status": "status",
    "input_shape": "input",
    "parameters": "parameters",
    "convolutions": "MAC of the 2D/3D convolutions",
    "total": "MAC of all convolutions and matrix products",
    "scan_flops": "scan operations",
    "metric": "name of the metric",
    "seeds": "trainings that are complete",
    "value": "metric, mean over the trainings (of a cross-validation over its folds)",
    "pooled": "of a cross-validation: metric of all items together, each scored out of its fold",
    "low": "95% low (of a cross-validation: of the pooled figure)",
    "high": "95% high",
    "min": "smallest of the trainings",
    "max": "largest of the trainings",
    "sd": "standard deviation over the trainings (n - 1)",
    "difference": "value minus that of the reference",
    "difference_low": "95% low of the difference",
    "difference_high": "95% high of the difference",
    "difference_p": "two-sided p-value of the difference",
    "difference_p_holm": "the same, adjusted over the rows of a metric",
    "images": "test images",
    "max_epochs": "epochs that fit into the budget, where it is one of minutes",
    "training_seconds": "seconds of a training on the clock, mean",
    "processor_seconds": "processor seconds of a training, mean",
    "data": "data",
    "error": "error",
}
"""Column of the CSV file -> what it holds."""
TRAINING_COLUMNS = ("name", "seed", "fold", "metric", "value", "low", "high", "images", "status")
OF_ONE = ("input_shape", "parameters", "convolutions", "total", "scan_flops", "images", "data")
Line = dict[str, Any]


def summarize_rows(plan: Plan, records: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Line]:
    """One line for each row and metric, without what comes of resampling.

    Args:
        plan: the plan.
        records: by the row's name, one record for each of its seeds.
    """
    lines: list[Line] = []
    for name, row in records.items():
        done = [record for record in row if record["status"] == "done"]
        states = list(dict.fromkeys(str(record["status"]) for record in row))
        errors = dict.fromkeys(str(record["error"]) for record in row if record.get("error"))
        facts: Line = {"name": name, "seeds": len(done), "error": "; ".join(errors)}
        facts["status"] = states[0] if len(states) == 1 else f"{len(done)} of {len(row)} done ({', '.join(states)})"
        facts |= {key: next((r[key] for r in row if key in r), "") for key in OF_ONE}
        epochs = [record["calibration"]["max_epochs"] for record in row if "calibration" in record]
        facts["max_epochs"] = epochs[0] if epochs else ""
        for kind in ("training_seconds", "processor_seconds"):
            times = [record[kind] for record in row if record.get(kind) is not None]
            facts[kind] = statistics.fmean(times) if times else ""
        for metric in plan.metrics:
            found = [record["values"][metric] for record in done]
            lines.append({**facts, "metric": metric, **_spread(found)})
    return lines


def _spread(found: Sequence[Mapping[str, float]]) -> Line:
    values = [entry["value"] for entry in found if entry["value"] is not None]  # undefined without some class
    if not values:
        return {}
    line: Line = {"value": statistics.fmean(values), "min": min(values), "max": max(values)}
    if len(values) > 1:
        line["sd"] = statistics.stdev(values)
    elif len(found) == 1:
        line |= {key: found[0][key] for key in ("low", "high")}  # the evaluation's own, over the images
    return line


def write_csv(lines: Iterable[Mapping[str, Any]], file: Path) -> None:
    """The table with all digits; columns as in :data:`COLUMNS`."""
    with open_text(file) as stream:
        writer = csv.DictWriter(stream, list(COLUMNS), extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(lines)


def training_lines(plan: Plan, records: Sequence[Mapping[str, Any]]) -> list[Line]:
    """One line for each training and metric; ``records`` in the order of ``plan.runs``."""
    return [
        {
            **{key: record.get(key, "") for key in ("images", "status")},
            **(record.get("values", {}).get(metric, {}) if record["status"] == "done" else {}),
            "name": run.row.name,
            "seed": "" if run.seed is None else run.seed,
            "fold": "" if run.fold is None else run.fold,
            "metric": metric,
        }
        for run, record in zip(plan.runs, records, strict=True)
        for metric in plan.metrics
    ]


def write_trainings(lines: Iterable[Mapping[str, Any]], file: Path) -> None:
    """Each seed and fold apart, with the interval of its own evaluation."""
    with open_text(file) as stream:
        writer = csv.DictWriter(stream, TRAINING_COLUMNS, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(lines)


def fold_page(plan: Plan, trainings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of a cross-validation, a table of each metric by fold, mean over the seeds."""
    page = []
    for metric in plan.metrics if plan.folds is not None else ():
        numbers = range(1, (plan.folds or 0) + 1)
        rows = []
        for row in plan.rows:
            cells = []
            for fold in numbers:
                own = [line for line in trainings if (line["name"], line["fold"]) == (row.name, fold)]
                values = [line["value"] for line in own if line["metric"] == metric and "value" in line]
                known = [value for value in values if value is not None]
                cells.append(f"{statistics.fmean(known):.3f}" if known else "undefined" if values else "")
            rows.append([row.name, *cells])
        page.append("\n".join(_table([f"{metric} by fold", *map(str, numbers)], rows)))
    return page


def markdown(lines: Sequence[Mapping[str, Any]], plan: Plan, title: str, command: str, notes: Sequence[str]) -> str:
    """The table as a page to read, with the counting conventions, the data and what failed below it."""
    page = [f"# {title} of {plan.bundle.name}", "", f"`{command}`", ""]
    data = sorted({str(line["data"]) for line in lines if line.get("data")})
    if any("synthetic" in name for name in data):
        page += ["**Synthetic demo data: these figures show that the runs work, not what the parts are worth.**", ""]
    page += [f"Data: {', '.join(data) or 'no row is complete'}.", ""]
    head = ["", "input", "parameters", "convolutions, GMAC", "total, GMAC", "scan, GFLOP"]
    head += [*_figure_heads(plan.metrics[0], plan), "processor min", "min"]
    rows = [
        [
            str(line["name"]),
            str(line.get("input_shape", "")),
            _count(line, "parameters"),
            *(_giga(line, key) for key in ("convolutions", "total", "scan_flops")),
            *_figures(line, plan),
            *(_minutes(line, key) for key in ("processor_seconds", "training_seconds")),
        ]
        for line in lines
        if line["metric"] == plan.metrics[0]
    ]
    page += _table(head, rows)
    for metric in plan.metrics[1:]:
        head = ["", *_figure_heads(metric, plan)]
        of_metric = [line for line in lines if line["metric"] == metric]
        page += ["", *_table(head, [[str(line["name"]), *_figures(line, plan)] for line in of_metric])]
    page += [
        "",
        "`convolutions`: multiply-accumulates of the 2D and 3D convolutions alone. `total`: those of all convolutions "
        "and matrix products. Scan: 9 operations per token, channel and state, in neither of them. Minutes: the whole "
        "training program, mean over the seeds; of processors (user and system, all threads), and on the clock of the "
        "machine that ran it.",
        *(part for note in notes for part in ("", note)),
    ]
    failed = {line["name"]: line for line in lines if line.get("error")}
    page += ["", *(f"* **{name}** {line['status']}: {line['error']}" for name, line in failed.items())]
    return "\n".join(page).rstrip() + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---", *["---:"] * (len(head) - 1)], *rows)]


def _figure_heads(metric: str, plan: Plan) -> list[str]:
    folds = [f"{metric}, mean of folds", "pooled", "95 %", "trainings"]
    heads = [metric, "95 %", "seeds"] if plan.folds is None else folds
    return [*heads, "min to max", "SD", *([] if plan.reference is None else [f"minus {plan.reference} (95 %)"])]


def _figures(line: Mapping[str, Any], plan: Plan) -> list[str]:
    """Mean, pooled figure of folds, interval, trainings, extremes, SD, and the difference to the reference where the
    plan has one."""
    several = "sd" in line
    unknown = "undefined" if line["status"] == "done" else str(line["status"])
    cells = [f"{line['value']:.3f}" if "value" in line else unknown]
    cells += [] if plan.folds is None else [f"{line['pooled']:.3f}" if line.get("pooled") is not None else ""]
    cells += [
        f"{line['low']:.3f} to {line['high']:.3f}"
        if line.get("low") is not None and not math.isnan(line["low"])
        else ""
    ]
    cells += [str(line["seeds"] or "")]
    cells += [f"{line['min']:.3f} to {line['max']:.3f}" if several else "", f"{line['sd']:.3f}" if several else ""]
    if plan.reference is None:
        return cells
    if line.get("difference") is None:
        return [*cells, ""]
    low, high = line["difference_low"], line["difference_high"]
    verdict = "" if not (low > 0 or high < 0) else ", better" if (low > 0) == plan.higher_is_better else ", worse"
    p_value = line.get("difference_p_holm")
    told = "" if p_value is None else ", p < 0.001" if p_value < 0.001 else f", p = {p_value:.3f}"
    return [*cells, f"{line['difference']:+.3f} ({low:+.3f} to {high:+.3f}){told}{verdict}"]


def _count(record: Mapping[str, Any], key: str) -> str:
    return f"{round(record[key]):,}" if record.get(key, "") != "" else ""


def _giga(record: Mapping[str, Any], key: str) -> str:
    return f"{record[key] / 1e9:.3g}" if record.get(key, "") != "" else ""


def _minutes(record: Mapping[str, Any], key: str) -> str:
    return f"{record[key] / 60:.1f}" if record.get(key, "") != "" else ""
