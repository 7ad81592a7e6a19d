"""The MLflow run that the trainings of a comparison, a cross-validation or a study are children of."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock
from ignite.engine import Engine
from monai.bundle import ConfigParser

from ..handlers.mlflow import flatten_params
from ..handlers.mlflow_store import PARENT_TAG, MLflowStore, StoreLostError, resolve_tracking_uri, shown_uri
from ..utils import replace_file
from ..utils.shown_names import shown_value
from .plans import Plan, Row

__all__ = ["PARENT_TAG", "ParentRun", "open_parent"]

logger = logging.getLogger(__name__)


class ParentRun:
    """A run in MLflow that others are children of: MLflow's pages show them below it. A store that does not take
    something is named in the log, and never ends a training.

    Args:
        store: that of the children; None keeps no run, for configs that track nothing.

    Attributes:
        run_id: of the run; None where there is none.
    """

    def __init__(self, store: MLflowStore | None) -> None:
        self.store = store
        self.run_id: str | None = None

    def open(self, place: Path, tags: Mapping[str, str], params: Mapping[str, Any]) -> None:
        """Open the run, or go on with the one that ``place`` names; processes that share a folder share the run.

        Args:
            place: JSON file that keeps the store's address and the run's ID.
            tags, params: of the run; those that it has already stay as they are.
        """
        with FileLock(place.with_name(f".{place.name}.lock")):
            self._safely(lambda store: self._open(store, place, tags, params))

    def _open(self, store: MLflowStore, place: Path, tags: Mapping[str, str], params: Mapping[str, Any]) -> None:
        before = json.loads(place.read_text(encoding="utf8")) if place.is_file() else {}
        uri = shown_uri(store.uri)
        store.open(Engine(lambda *_: None), before.get("run_id", "") if before.get("uri") == uri else "")
        store.log_tags(tags)
        store.log_params({name: shown_value(value) for name, value in flatten_params(params).items()})
        self.run_id = store.run_id
        with replace_file(place) as part:
            part.write_text(json.dumps({"uri": uri, "run_id": self.run_id}), encoding="utf8")

    def overrides(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the config of a child gets, beside what is ``given`` to it; nothing where there is no run."""
        if self.run_id is None:
            return {}
        return {"tracker#tags": {**(given.get("tracker#tags") or {}), PARENT_TAG: self.run_id}}

    def log_metrics(self, values: Mapping[str, float | None]) -> None:
        """Log figures of the whole; those that are undefined are left out."""
        self._safely(lambda store: _log(store, self.run_id, values))

    def log_child(self, run_name: str, values: Mapping[str, float | None], tags: Mapping[str, str]) -> None:
        """Log figures and tags to the newest child of this name."""

        def log(store: MLflowStore) -> None:
            experiment = store.call(lambda: store.client.get_run(self.run_id)).info.experiment_id
            chosen = f"tags.`{PARENT_TAG}` = '{self.run_id}' and attributes.run_name = '{run_name}'"
            found = store.call(lambda: store.client.search_runs([experiment], chosen, max_results=1))
            if not found:
                logger.warning("MLflow: no run %s was found below %s.", run_name, self.run_id)
                return
            _log(store, found[0].info.run_id, values)
            for key, value in tags.items():
                store.call(partial(store.client.set_tag, found[0].info.run_id, key, value))

        self._safely(log)

    def close(self, status: str, files: Sequence[Path] = ()) -> None:
        """End the run with this status, with the files that are there; ``"RUNNING"`` leaves it to another process."""

        def end(store: MLflowStore) -> None:
            for file in files:
                if file.is_file():
                    store.log_file(os.fspath(file))
            store.close(status)

        self._safely(end)
        self.run_id = None

    def _safely(self, action: Callable[[MLflowStore], None]) -> None:
        if self.store is None:
            return
        try:
            action(self.store)
        except Exception as error:  # a server that is lost, a database that is locked: the trainings go on
            kind = "" if isinstance(error, StoreLostError) else f"{type(error).__name__}: "
            logger.warning(
                "MLflow at %s does not take the run of the whole (%s%s); the trainings go on without it.",
                shown_uri(self.store.uri),
                kind,
                error,
            )
            self.store, self.run_id = None, None


def _log(store: MLflowStore, run_id: str | None, values: Mapping[str, float | None]) -> None:
    for name, value in values.items():
        if value is not None and not math.isnan(value):
            store.call(partial(store.client.log_metric, run_id, name, float(value)))


def open_parent(plan: Plan, output: Path, stem: str, kind: str, params: Mapping[str, Any] | None = None) -> ParentRun:
    """The run that the trainings of a plan are children of, in the store and the experiment of the bundle's own runs.

    Args:
        plan: what is trained.
        output: folder of the tables; the trainings' runs are in its ``mlruns.db``, unless MLflow's own variable says
            otherwise.
        stem: of the tables.
        kind: what the whole is, for a tag.
        params: of the run.
    """
    config = ConfigParser(ConfigParser.load_config_files(plan.configs(Row("whole"))))
    config.update({key: value for key, value in plan.overrides.items() if key.split("#")[0] == "tracker"})
    tracker = config.get("tracker")
    if not isinstance(tracker, Mapping) or not tracker.get("experiment_name"):
        return ParentRun(None)
    uri = resolve_tracking_uri(output, tracker.get("tracking_uri"))
    parent = ParentRun(MLflowStore(uri, str(tracker["experiment_name"]), f"{stem} {output.name}"))
    facts = {"folds": plan.folds, "fold_seed": plan.fold_seed if plan.folds else None, "group": plan.group}
    own = {
        "bundle": plan.bundle.name,
        "seeds": [seed for seed in plan.seeds if seed is not None] or None,
        "rows": [row.name for row in plan.rows] or None,
        "reference": plan.reference,
        **facts,
    }
    named = {**plan.overrides, **{key: value for key, value in own.items() if value is not None}, **(params or {})}
    parent.open(output / f".{stem}_mlflow.json", {"kind": kind}, named)
    return parent
