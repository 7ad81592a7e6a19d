"""One row of a plan with one seed: its training and evaluation, resumable, in a folder of its own."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from monai.bundle import ConfigParser

from ..bundle.runs import LOCK
from ..handlers.checkpoints import checkpoints_in
from ..networks.complexity import count_complexity
from ..utils import replace_file
from .parent_run import ParentRun
from .plan_budget import calibrate
from .plans import Plan, Run, short_digest
from .programs import RowError, run_program, stopwatch

__all__ = ["RECORD", "Busy", "claim", "name_of", "read_record", "run_row"]

logger = logging.getLogger(__name__)
RECORD, TRAINING, EVALUATING = "row.json", "training", "evaluating"
Record = dict[str, Any]


def name_of(run: Run, output: Path) -> str:
    """Name of a training's run in MLflow: a server has one for each folder of tables, however rows are called."""
    return f"{run.slug}-{short_digest(str(output.resolve()))}"


class Busy(RuntimeError):
    """Another process has the row."""


def claim(folder: Path) -> FileLock:
    """The right to work on a row, as a context manager; it ends with the process that has it.

    Raises:
        Busy: another runner has it, or one that was killed has left its training behind, which goes on.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.parent / f".{folder.name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise Busy(f"another process has {folder}") from None
    training = folder / TRAINING
    if training.is_dir():
        try:
            with FileLock(training / LOCK, timeout=0):
                pass
        except Timeout:
            lock.release()
            raise Busy(f"a training of an earlier runner goes on in {training}") from None
    return lock


def read_record(folder: Path) -> Record | None:
    """What is known of a row, None where it never began."""
    file = folder / RECORD
    return json.loads(file.read_text(encoding="utf8")) if file.is_file() else None


def keep(record: Mapping[str, Any], folder: Path) -> None:
    """Write a record, whole or not at all."""
    with replace_file(folder / RECORD) as part:
        part.write_text(json.dumps(record, indent=2, default=str), encoding="utf8")


def run_row(
    plan: Plan,
    run: Run,
    output: Path,
    parent: ParentRun | None = None,
    finish: Callable[[Plan, Run, Path, Record], None] | None = None,
    further: Mapping[str, Any] | None = None,
) -> Record:
    """Train and evaluate one row with one seed, but for what is done; its record is kept in ``<folder>/row.json``.

    A training that was interrupted goes on from its last checkpoint. A row whose settings changed begins anew, and what
    it was before is kept under another name. The caller has the claim on the folder.

    Args:
        plan: what the row is part of.
        run: which training.
        output: folder of the tables.
        parent: MLflow's run of the whole, whose children the runs become.
        finish: what follows the training, and adds to the record; None evaluates on the test part (of the fold).
        further: overrides of the training that decide nothing, such as handlers that watch it.

    Returns:
        the record; ``status`` is ``"done"`` or ``"failed"``.
    """
    folder = output / run.slug
    record = _begin(plan, run, folder)
    try:
        if not record["trained"]:
            _train(plan, run, folder, record, parent, further or {})
        if finish is None:
            _evaluate(plan, run, folder, record, parent)
        else:
            finish(plan, run, folder, record)
        record["status"] = "done"
        record.pop("error", None)
    except Exception as error:  # whatever a row's own settings break: the other rows still count
        record.pop("values", None)
        record |= {"status": "failed", "error": f"{type(error).__name__}: {error}".replace("\n", " ")}
    except BaseException:  # Ctrl-C, SIGTERM
        record["status"] = "interrupted"
        raise
    finally:
        keep(record, folder)
    return record


def _evaluate(plan: Plan, run: Run, folder: Path, record: Record, parent: ParentRun | None) -> None:
    """Evaluate on the test part, unless that is done; the record gets the figures."""
    evaluated = plan.evaluation_fingerprint(run.row, run.seed, run.fold)
    summary = folder / EVALUATING / "summary.json"
    if record.get("evaluation_fingerprint") == evaluated and summary.is_file():
        logger.info("%s: done before", run.name)
    else:
        record |= cost(plan.configs(run.row, str(folder / f"{TRAINING}.yaml")))
        overrides = plan.evaluation_overrides(run.row, run.seed, run.fold)
        _run_bundle(plan, run, folder, EVALUATING, overrides, parent)
        record["evaluation_fingerprint"] = evaluated
    record |= result(summary, plan.metrics)


def _set_aside(folder: Path) -> Path:
    """Rename a folder by the time; returns the new one, which nothing had (two in one second get numbers)."""
    dated = folder.with_name(f"{folder.name}_until_{time.strftime('%Y%m%d-%H%M%S')}")
    kept = next(name for n in count(1) if not (name := dated if n == 1 else Path(f"{dated}_{n}")).exists())
    return folder.rename(kept)


def _begin(plan: Plan, run: Run, folder: Path) -> Record:
    """The record to go on with: that of the folder, or a new one."""
    settings = {**plan.training_overrides(run.row, run.seed, run.fold), "overlays": [*plan.overlays, *run.row.overlays]}
    settings |= {} if plan.minutes is None else {"minutes": plan.minutes}
    record: Record = {"name": run.row.name, "seed": run.seed, "fold": run.fold}
    record["fingerprint"] = plan.fingerprint(run.row, run.seed, run.fold)
    record |= {"status": "started", "trained": False, "attempts": [], "settings": settings}
    before = read_record(folder)
    if before is not None and before["fingerprint"] == record["fingerprint"]:
        return before
    if before is not None:
        kept = _set_aside(folder)
        changed = _changes(before.get("settings", {}), settings)
        logger.info(
            "%s: its settings changed since it ran (%s), so it runs again; the earlier one is kept in %s",
            run.name,
            changed or "in the config files",
            kept,
        )
    folder.mkdir(parents=True, exist_ok=True)
    keep(record, folder)
    return record


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """``max_epochs: 3, now 7; seed: 0, now not set``."""
    old, new = (json.loads(json.dumps(settings, default=str)) for settings in (before, after))
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return "; ".join(f"{key}: {old.get(key, 'not set')}, now {new.get(key, 'not set')}" for key in keys)


def _train(
    plan: Plan, run: Run, folder: Path, record: Record, parent: ParentRun | None, more: Mapping[str, Any]
) -> None:
    """Train, or go on training; ``record`` gets the time of each attempt, whichever way it ends."""
    overrides = plan.training_overrides(run.row, run.seed, run.fold)
    if plan.minutes is not None:
        found = calibrate(plan, run, folder.parent / f"{run.row.slug}-calibration")
        record["calibration"] = found
        overrides |= {"max_epochs": found["max_epochs"], "patience": found["max_epochs"]}
    there = checkpoints_in(folder / TRAINING)
    if there:
        logger.info("%s: goes on after epoch %d", run.name, next(iter(there)))
        overrides["resume_from"] = str(folder / TRAINING)
    attempt: dict[str, Any] = {"began": time.strftime("%Y-%m-%d %H:%M:%S"), "wall": None, "processor": None}
    record["attempts"].append(attempt)
    keep(record, folder)  # an attempt without times shows that there was one, should this process be killed
    try:
        with stopwatch() as spent:
            _run_bundle(plan, run, folder, TRAINING, {**overrides, **more}, parent, further=bool(there))
    finally:
        attempt |= {"wall": spent.wall, "processor": spent.processor}
        record["training_seconds"] = _total(record, "wall")
        record["processor_seconds"] = _total(record, "processor")
    record["trained"] = True
    record.pop("error", None)
    keep(record, folder)  # a failing evaluation does not cost the training


def _total(record: Record, kind: str) -> float | None:
    """Sum over the attempts; None where one of them is unknown."""
    times = [attempt[kind] for attempt in record["attempts"]]
    return None if None in times else sum(times)


def _run_bundle(
    plan: Plan,
    run: Run,
    folder: Path,
    step: str,
    overrides: Mapping[str, Any],
    parent: ParentRun | None = None,
    further: bool = False,
) -> None:
    """Run ``training`` or ``evaluating`` of the bundle as a program of its own; output goes to ``folder/<step>.log``.

    Raises:
        RowError: it failed.
    """
    training, name = step == TRAINING, name_of(run, folder.parent)
    places = {
        "bundle_root": str(plan.bundle),
        "output_dir": str(folder.parent),  # MLflow's store and the demo images, shared by the rows
        "ckpt_dir": str(folder / "models"),
        "run_dir": str(folder / step),
        "run_name": name if training else f"{name}-test",
        **(parent.overrides(overrides) if parent else {}),
    }
    overlay = folder / f"{step}.yaml"
    overlay.write_text(yaml.safe_dump({**overrides, **places}, sort_keys=False), encoding="utf8")
    files = plan.configs(run.row, *(() if training else ("evaluate.yaml",)), str(overlay))
    logger.info("%s: %s (output in %s)", run.name, step, folder / f"{step}.log")
    run_program(step, files, folder, further)


def cost(files: list[str]) -> dict[str, Any]:
    """Parameters and multiply-accumulates of the network that these config files build, for one training input: an
    image of ``image_size``, or two sources of ``roi_size``."""
    parser = ConfigParser()
    parser.read_config(files)
    network = parser.get_parsed_content("network_def")
    kind = ("in_channels", "image_size") if "image_size" in parser else ("sources", "roi_size")
    channels, size = (parser.get_parsed_content(key) for key in kind)
    shape = (channels if isinstance(channels, int) else len(channels), *size)
    counted = count_complexity(network, shape)
    names = ("parameters", "convolutions", "total", "scan_flops")
    return {"input_shape": "x".join(map(str, shape)), **{name: getattr(counted, name) for name in names}}


def result(file: Path, metrics: tuple[str, ...]) -> dict[str, Any]:
    """The metrics with their intervals, from the report of a classification, or (mean over images or pairs) of a
    segmentation or a fusion."""
    summary = json.loads(file.read_text(encoding="utf8"))
    figures = summary.get("metrics") or summary.get("per_image") or summary.get("rows", {}).get("fused", {})
    values = {}
    for metric in metrics:
        if metric not in figures:
            raise RowError(f"{file} has no metric {metric!r}, only {', '.join(figures)}")
        entry = figures[metric]
        value = entry["value"] if "value" in entry else entry["mean"]
        values[metric] = {"value": value, "low": entry["low"], "high": entry["high"]}
    tables = [file.with_name(name) for name in ("per_image.csv", "per_pair.csv")]
    table = next((str(path) for path in tables if path.is_file()), None)
    return {"values": values, "per_image": table, **{key: summary[key] for key in ("images", "data")}}
