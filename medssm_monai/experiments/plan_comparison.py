"""From the rows' folders to the lines of the table: what is done, intervals, and differences on the same images."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..metrics.hierarchical import Statistics, bootstrap_hierarchical, holm
from ..utils import replace_file
from .plan_rows import EVALUATING, read_record
from .plan_scores import FUSED, Scores, read_scores
from .plan_table import Line, fold_page, markdown, summarize_rows, training_lines, write_csv, write_trainings
from .plans import Plan, Run

__all__ = ["write_table"]

logger = logging.getLogger(__name__)
N_RESAMPLES = 2000
METHOD = (
    f"95 %: percentile bootstrap, {N_RESAMPLES} resamples. A resample draws the test {{unit}} with replacement, the "
    "same ones for all rows, and for each row its trainings with replacement (scatter widened by sqrt(S / (S - 1)) for "
    "S of them); so the interval holds for other images and other seeds. Rows of one training: images alone."
)
FOLDS_METHOD = (
    "Cross-validation: each of the {count} images or pairs is scored once, by a training that neither learned from it "
    "nor chose its checkpoint by it. Mean, SD, smallest and largest are those of the folds' figures; `pooled` is the "
    f"figure of all of them together. 95 %: percentile bootstrap of the pooled figure, {N_RESAMPLES} resamples of "
    "{unit}, the same ones for all rows (and of the seeds, where there are several). It says little about other "
    "training data: the folds' trainings share most of theirs. The test part of the data was not touched."
)
TESTS = (
    "p: two-sided, twice the smaller share of resampled differences at or beyond 0, adjusted by Holm's method over the "
    "rows of a metric; `{stem}.csv` has both."
)
Record = dict[str, Any]


def collect(plan: Plan, output: Path) -> list[Record]:
    """The record of each training, in the order of ``plan.runs``; where the folder has another one or none, the status
    says so."""
    records: list[Record] = []
    for run in plan.runs:
        record = read_record(output / run.slug)
        if record is None:
            record = {"status": "not run"}
        elif record["fingerprint"] != plan.fingerprint(run.row, run.seed, run.fold):
            record = {"status": "not run with these settings"}
        elif record["status"] == "done" and any(metric not in record.get("values", {}) for metric in plan.metrics):
            record = {**record, "status": "without the plan's metrics"}  # it is there after the row's next turn
        records.append(record)
    return records


def write_table(plan: Plan, output: Path, stem: str, title: str, command: str) -> str:
    """Write ``<stem>.csv``, ``<stem>_trainings.csv`` (each seed and fold apart) and ``<stem>.md`` from what the folders
    of the rows hold; returns the page."""
    records = collect(plan, output)
    by_row: dict[str, list[Record]] = {row.name: [] for row in plan.rows}
    for run, record in zip(plan.runs, records, strict=True):
        by_row[run.row.name].append(record)
    lines = summarize_rows(plan, by_row)
    notes = _resample(plan, output, records, lines)
    if any(line.get("difference_p") is not None for line in lines):
        notes.append(TESTS.format(stem=stem))
    trainings = training_lines(plan, records)
    text = markdown(lines, plan, title, command, [*notes, *fold_page(plan, trainings)])
    with FileLock(output / f".{stem}.lock"):
        with replace_file(output / f"{stem}.csv") as part:
            write_csv(lines, part)
        with replace_file(output / f"{stem}_trainings.csv") as part:
            write_trainings(trainings, part)
        with replace_file(output / f"{stem}.md") as part:
            part.write_text(text, encoding="utf8")
    return text


def _resample(plan: Plan, output: Path, records: Sequence[Record], lines: list[Line]) -> list[str]:
    """Put intervals and differences into the lines, add those of fusions without a network, and say how in notes."""
    found, notes = _scores(plan, output, records)
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
        if line["seeds"] != 1 or first.groups is not None or plan.folds is not None:
            line |= {"low": entry.mean.low, "high": entry.mean.high}
        if plan.folds is not None:
            line |= {"pooled": entry.mean.estimate, "images": len(first.images)}
        line.setdefault("value", entry.mean.estimate)
        if entry.difference is not None:
            estimate, low, high = entry.difference
            line |= {"difference": estimate, "difference_low": low, "difference_high": high}
            line["difference_p"] = entry.p_value
    _adjust(lines)
    groups = None if first.groups is None else len(set(first.groups))
    unit = "images or pairs" if groups is None else f"groups ({groups})"
    method = METHOD if plan.folds is None else FOLDS_METHOD
    return [method.format(unit=unit, count=len(first.images)), *notes]


def _scores(plan: Plan, output: Path, records: Sequence[Record]) -> tuple[dict[str, list[Scores]], list[str]]:
    """Figures by image of each row, one for each seed (its folds put together), and what has none, in words."""
    turns: dict[tuple[str, int | None], list[tuple[Run, Record]]] = {}
    for run, record in zip(plan.runs, records, strict=True):
        turns.setdefault((run.row.name, run.seed), []).append((run, record))
    found: dict[str, list[Scores]] = {}
    notes: list[str] = []
    for (name, seed), runs in turns.items():
        done = [run for run, record in runs if record["status"] == "done" and record.get("per_image")]
        called = name if seed is None else f"{name}, seed {seed}"
        if len(done) < len(runs):
            if done:  # some folds of a cross-validation
                notes.append(f"{called}: {len(done)} of {len(runs)} folds are complete, so nothing is pooled yet.")
            continue
        folders = [output / run.slug / EVALUATING for run in done]
        try:
            scores = read_scores(folders, plan.metrics, plan.group)
        except (OSError, ValueError) as error:  # a wrong expression for groups must not end the other trainings
            notes.append(f"{called} has no interval and is not compared: {error}.")
            continue
        found.setdefault(name, []).append(scores)
    return found, notes


def _adjust(lines: list[Line]) -> None:
    """Holm's p-values, over the rows of each metric."""
    for metric in dict.fromkeys(line["metric"] for line in lines):
        tested = [line for line in lines if line["metric"] == metric and line.get("difference_p") is not None]
        for line, value in zip(tested, holm([line["difference_p"] for line in tested]), strict=True):
            line["difference_p_holm"] = None if math.isnan(value) else value
