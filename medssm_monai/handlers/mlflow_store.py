"""One run in one MLflow store, and the limit of how long a store that does not answer may hold a training."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock
from ignite.engine import Engine

from ..utils.files import remove_parts, replace_file
from ..utils.tracking import (
    REQUESTS,
    URI_VARIABLE,
    environment,
    local_uri,
    resolve_tracking_uri,
    short_reason,
    shown_uri,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["KEPT_AS", "PARENT_TAG", "MLflowStore", "StoreLostError", "local_uri", "resolve_tracking_uri", "shown_uri"]

KEPT_AS = "kept_as"
"""Tag of a server's run: the id of the run that was kept for it."""
PARENT_TAG = "mlflow.parentRunId"
SECONDS = 7.0
SECONDS_PER_BYTE = 1e-6
PARAMS_PER_CALL = 100
METRICS_PER_CALL = 1000
FINISHED = "FINISHED"
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")

Result = TypeVar("Result")
_Values = dict[tuple[str, int], set[float | None]]  # metric and step -> what a run has there


class StoreLostError(RuntimeError):
    """A tracking server did not answer, or not in time."""


class MLflowStore:
    """A run in a store: MONAI's ``MLFlowHandler`` opens it; an unfinished run of the same name goes on.

    A server is given ``SECONDS`` for each call, and for a file a second more for each megabyte, unless the user has set
    MLflow's own ``MLFLOW_HTTP_REQUEST_TIMEOUT`` or ``MLFLOW_HTTP_REQUEST_MAX_RETRIES``, which then hold. Calls to a
    SQLite file are not limited.

    Args:
        uri: of the store.
        experiment_name: one experiment per bundle.
        run_name: name of the run.
        reopen: go on with a finished run of that name too, where there is no unfinished one.

    Attributes:
        run_id: of the open run, None before :meth:`open`.

    Raises:
        StoreLostError: by all methods, for a server that does not answer in time, or refuses to be used. What a SQLite
            file raises is passed on.
    """

    def __init__(self, uri: str, experiment_name: str, run_name: str, reopen: bool = False) -> None:
        self.uri, self.experiment_name, self.run_name = uri, experiment_name, run_name
        self.is_local, self.reopen = uri.startswith("sqlite:"), reopen
        self.run_id: str | None = None
        self.client: Any = None
        self._earlier: _Values | None = None
        self._handler: Any = None

    def open(self, engine: Engine, run_id: str | None = None) -> None:
        """Open the run, or go on with an unfinished one of this name.

        Args:
            engine: the one that is tracked.
            run_id: of a run that tracks no engine, to go on with whether it is finished or not; where the store has it
                not, or for an empty one, a new run is made, whatever the names of others.
        """
        with self._alone():
            self._open(engine, run_id)

    def _open(self, engine: Engine, run_id: str | None) -> None:
        from monai.handlers import MLFlowHandler

        with environment({URI_VARIABLE: None}):  # which MONAI's handler would take instead of the argument
            self._handler = self.call(
                lambda: MLFlowHandler(
                    tracking_uri=self.uri,
                    experiment_name=self.experiment_name,
                    run_name=self.run_name,
                    iteration_log=False,
                )
            )
        self.client = self._handler.client
        if not self.is_local:
            self.call(lambda: self.client.search_experiments(max_results=1))  # is anybody there?
        self.call(self._handler._set_experiment, calls=3)
        experiment = self._handler.experiment.experiment_id
        if run_id is None:
            self._handler.cur_run = self._earlier_run(experiment, self.reopen)
        else:
            self._handler.cur_run = self.call(lambda: self._known(run_id)) or self.call(
                lambda: self.client.create_run(experiment, run_name=self.run_name)
            )
            self._handler.default_tracking_params = []  # it has its own already
        self.call(lambda: self._handler.start(engine), calls=8)
        self.run_id = self._handler.cur_run.info.run_id
        self.call(lambda: self.client.update_run(self.run_id, status="RUNNING"))

    def _known(self, run_id: str) -> Any:
        """The run of this ID; None where the store has none, or had it deleted."""
        from mlflow.exceptions import MlflowException

        if not run_id:
            return None
        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return run if run.info.lifecycle_stage == "active" else None

    def join(self, run: Run, known: str | None, reopen: bool = False) -> Run:
        """Go on with a run that is kept elsewhere: with its own run here, or a new one.

        Its own is the one that the tracker had opened, one that an earlier sending has made, or one of its name with
        which the tracker would have gone on: the answer to a call may be lost, what it did is not.

        Args:
            run: the kept run.
            known: id of the run that the tracker had opened here.
            reopen: whether it would have gone on with a finished one too.

        Returns:
            The run as it is here.
        """
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=self.uri)
        experiment = self._experiment()
        kept_as = f"tags.{KEPT_AS} = '{run.info.run_id}'"
        found = self._search(experiment, f"attributes.run_id = '{known}'") if known else []
        found = found or self._search(experiment, kept_as)
        if not found:
            earlier = self._earlier_run(experiment, reopen, besides_kept=True)
            found = [] if earlier is None else [earlier]
        if not found:
            self.call(
                lambda: self.client.create_run(
                    experiment, start_time=run.info.start_time, tags={KEPT_AS: run.info.run_id}, run_name=self.run_name
                )
            )
            found = self._search(experiment, kept_as)
        self.run_id = found[0].info.run_id
        self.log_tags({KEPT_AS: run.info.run_id})
        return found[0]

    def _search(self, experiment: str, query: str) -> list[Run]:
        return list(self.call(lambda: self.client.search_runs([experiment], query)))

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self.call(lambda: self.client.get_experiment_by_name(self.experiment_name))
        if found is None:
            try:
                return str(self.call(lambda: self.client.create_experiment(self.experiment_name)))
            except MlflowException:  # somebody else made it meanwhile
                found = self.call(lambda: self.client.get_experiment_by_name(self.experiment_name))
        return str(found.experiment_id)

    def list_files(self, run_id: str | None, folder: str | None) -> list[Any]:
        """What lies in a folder of the run's artifacts."""
        return list(self.call(lambda: self.client.list_artifacts(run_id, folder)))

    def _earlier_run(self, experiment: str, reopen: bool, besides_kept: bool = False) -> Run | None:
        """The run of this name to go on with: an unfinished one, as MONAI's handler takes it, else the newest one.

        Args:
            experiment: id of the experiment.
            reopen: whether a finished one counts.
            besides_kept: without those that runs kept elsewhere were sent to.
        """
        quote = '"' if "'" in self.run_name else "'"
        found = self._search(experiment, f"attributes.run_name = {quote}{self.run_name}{quote}")  # the newest first
        named = [run for run in found if not (besides_kept and KEPT_AS in run.data.tags)]
        unfinished = [run for run in named if run.info.status != FINISHED]
        return next(iter([*unfinished[-1:], *(named if reopen else [])]), None)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Opened by one process at a time: of two that make the tables of a SQLite file at once, one fails."""
        if not self.is_local:
            yield
            return
        file = Path(self.uri.removeprefix("sqlite:///"))
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_name(f".{file.name}.lock")):
            remove_parts(file.parent, file.name)
            if not file.exists():
                _make_file(file)
            yield

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run."""
        for key, value in tags.items():
            self.call(partial(self.client.set_tag, self.run_id, key, value))

    def remove_tags(self, names: Sequence[str]) -> None:
        """Take tags off the run; those that it has not are passed over."""
        there = self.call(lambda: self.client.get_run(self.run_id)).data.tags
        for name in [name for name in names if name in there]:
            self.call(partial(self.client.delete_tag, self.run_id, name))

    def log_params(self, params: Mapping[str, str]) -> list[str]:
        """Log settings; returns the names of those that the run has already with another value, which it keeps."""
        from mlflow.entities import Param

        known = self.call(lambda: self.client.get_run(self.run_id)).data.params
        for part in _parts(
            [Param(name, value) for name, value in params.items() if name not in known], PARAMS_PER_CALL
        ):
            self.call(partial(self.client.log_batch, self.run_id, params=part))
        return [name for name, value in params.items() if name in known and known[name] != value]

    def log_metrics(self, metrics: Sequence[Any]) -> int:
        """Log MLflow ``Metric`` objects, but those that the run had with the same step and value when it was opened;
        returns how many are new."""
        if not metrics:
            return 0
        if self._earlier is None:
            self._earlier = self._logged()
        known = self._earlier
        new = [metric for metric in metrics if _plain(metric.value) not in known.get((metric.key, metric.step), ())]
        for part in _parts(new, METRICS_PER_CALL):
            self.call(partial(self.client.log_batch, self.run_id, metrics=part))
        return len(new)

    def _logged(self) -> _Values:
        found: _Values = {}
        for name in self.call(lambda: self.client.get_run(self.run_id)).data.metrics:
            for metric in self.call(partial(self.client.get_metric_history, self.run_id, name)):
                found.setdefault((name, metric.step), set()).add(_plain(metric.value))
        return found

    def log_file(self, path: str, folder: str | None = None) -> None:
        """Log a file, into a folder of the run's artifacts."""
        extra = os.path.getsize(path) * SECONDS_PER_BYTE
        self.call(lambda: self.client.log_artifact(self.run_id, path, folder), extra=extra)

    def close(self, status: str) -> None:
        """End the run with this status, and release the SQLite file."""
        self._handler.run_finish_status = status
        self.call(self._handler.close)

    def end(self, status: str, end_time: int) -> None:
        """End a run that was joined as the kept one ended, at that time (ms)."""
        self.call(lambda: self.client.set_terminated(self.run_id, status, end_time))

    def call(self, function: Callable[[], Result], calls: int = 1, extra: float = 0.0) -> Result:
        """Call a function that asks the store, with the limit of time that holds for it.

        Args:
            function: what is called.
            calls: how many requests it makes.
            extra: seconds more, for files.
        """
        if self.is_local:
            return function()
        if any(os.environ.get(name) for name in list(REQUESTS)[:2]):
            seconds, limits = None, {}
        else:
            seconds, limits = calls * SECONDS + extra, dict(REQUESTS)
            limits["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(int(float(REQUESTS["MLFLOW_HTTP_REQUEST_TIMEOUT"]) + extra))
        try:
            with environment(limits):
                return _within(seconds, function)
        except Exception as error:  # MLflow, requests, urllib3, database drivers: whatever it is, training goes on
            if getattr(error, "error_code", None) in REFUSALS:
                raise
            raise StoreLostError(short_reason(error)) from error


def _within(seconds: float | None, function: Callable[[], Result]) -> Result:
    """Call a function, but wait no longer for it than this; name look-ups and drivers know no limit of their own."""
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            outcome["result"] = function()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=work, name="mlflow-call", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is ending, no thread starts any more
        return function()
    thread.join(seconds)
    if "error" in outcome:
        raise outcome["error"]
    if "result" not in outcome:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return outcome["result"]


def _plain(value: float) -> float | None:
    """A value that equals itself: a store keeps what is no number as NaN or as 0."""
    return None if math.isnan(value) else value


def _make_file(file: Path) -> None:
    """Make the tables of a SQLite store beside its place: MLflow would never open one of which a kill has left half."""
    from mlflow.store.db import utils
    from monai.utils import path_to_sqlite_uri

    with replace_file(file) as temporary:
        engine = utils.create_sqlalchemy_engine_with_retry(path_to_sqlite_uri(temporary))
        try:
            utils._initialize_tables(engine)
        finally:
            engine.dispose()


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
