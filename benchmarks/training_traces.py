"""What a training leaves behind, in a form that two trainings of the same settings must have in common."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from monai.utils import path_to_sqlite_uri

from medssm_monai.bundle.run_records import RECORD
from medssm_monai.handlers.checkpoints import checkpoints_in

__all__ = ["differences", "run_folders"]

STATE = ("model", "average", "optimizer", "lr_scheduler", "early_stop", "best_model")
KEPT = 2  # checkpoints


def run_folders(out: Path) -> list[Path]:
    """Folders of runs below an output folder, those that hold nothing yet among them."""
    return sorted(path for path in out.glob("*_*_*") if path.is_dir() and path.name != "demo_data")


def differences(interrupted: Path, straight: Path, bundle: str) -> list[str]:
    """In what an interrupted training differs from a straight one; empty where nothing is lost and nothing doubled.

    Compared are, to the bit, published weights and settings, the state in the last checkpoint, the table without its
    seconds and the figures of the validation report; in MLflow the number of runs, their status, and step and value of
    every metric. Half-written files and further run folders are differences too.

    Args:
        interrupted: a folder with ``eval``, where the run is, and ``models``, where its weights were published.
        straight: such a folder.
        bundle: name of the bundle, and of its experiment in MLflow.
    """
    return list(_differences(interrupted, straight, bundle))


def _differences(ours: Path, theirs: Path, bundle: str) -> Iterator[str]:
    runs = run_folders(ours / "eval")
    if len(runs) != 1:
        yield f"{len(runs)} run folders: {', '.join(run.name for run in runs)}"
        runs = [run for run in runs if (run / RECORD).is_file()][-1:]
    if not runs:
        return
    run, (straight,) = runs[0], run_folders(theirs / "eval")
    for name in ("model.pt", "model.json"):
        for one, other in ((run / name, straight / name), (ours / "models" / name, theirs / "models" / name)):
            if not one.is_file() or one.read_bytes() != other.read_bytes():
                yield f"{one.parent.name}/{name} differs"
    yield from _state_differences(run, straight)
    if _table(run) != _table(straight):
        yield "history.csv differs"
    if _figures(run) != _figures(straight):
        yield "validation/summary.json differs"
    if _tracked(ours, bundle) != _tracked(theirs, bundle):
        yield f"MLflow differs: {_tracked(ours, bundle)} instead of {_tracked(theirs, bundle)}"
    halves = [path.name for path in ours.rglob(".*.part*")]
    if halves:
        yield f"half-written files are left: {', '.join(halves)}"


def _state_differences(run: Path, straight: Path) -> Iterator[str]:
    ours, theirs = checkpoints_in(run), checkpoints_in(straight)
    if list(ours) != list(theirs) or len(ours) > KEPT:
        yield f"checkpoints of the epochs {list(ours)} instead of {list(theirs)}"
        return
    last = [torch.load(next(iter(files.values())), weights_only=True) for files in (ours, theirs)]
    for part in STATE:
        if not _equal(last[0].get(part), last[1].get(part)):
            yield f"{part} of the last checkpoint differs"


def _equal(one: Any, other: Any) -> bool:
    """Nested dictionaries and lists of tensors, numbers and texts, to the bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return bool(one == other)


def _table(run: Path) -> list[dict[str, str]]:
    if not (run / "history.csv").is_file():
        return []
    with open(run / "history.csv", newline="", encoding="utf-8") as stream:
        return [{key: cell for key, cell in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def _figures(run: Path) -> dict[str, Any]:
    file = run / "validation" / "summary.json"
    summary = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {key: value for key, value in summary.items() if not key.startswith(("written", "seconds"))}


def _tracked(out: Path, bundle: str) -> list[tuple[str, dict[str, list[tuple[int, float]]], list[str]]]:
    """Status, metrics and names of files of each run of a bundle's experiment."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(path_to_sqlite_uri(out / "eval" / "mlruns.db"))
    experiment = client.get_experiment_by_name(bundle)
    if experiment is None:
        return []
    found = []
    for run in client.search_runs([experiment.experiment_id]):
        names = sorted(run.data.metrics)
        history = {name: client.get_metric_history(run.info.run_id, name) for name in names}
        metrics = {name: [(one.step, one.value) for one in history[name]] for name in names}
        found.append((run.info.status, metrics, sorted(file.path for file in client.list_artifacts(run.info.run_id))))
    return found
