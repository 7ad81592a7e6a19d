"""One MLflow run per start of a bundle."""

from __future__ import annotations

import atexit
import glob
import logging
import os
import re
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import Trainer

from ..bundle import was_interrupted
from ..data.demo.segmentation import DEMO
from ..reports.html_page import without_pictures
from ..utils import writable_folder
from ..utils.process_failures import failure_elsewhere
from ..utils.shown_names import shown_text, shown_value
from ..utils.switches import switch
from ..utils.text_files import write_text
from .events import average_train_loss, loss_of, on_failure, process_rank, scalars
from .mlflow_sending import (
    KEPT_FOR,
    KEPT_RESUMED,
    KEPT_RUN,
    OF_A_FAILURE,
    SENT_AT,
    Sender,
    SendingElsewhereError,
    kept_runs,
    lock_of,
    send_run,
)
from .mlflow_store import MLflowStore, StoreLostError, local_uri, resolve_tracking_uri, shown_uri
from .provenance import Provenance

__all__ = ["MLflowTracker", "flatten_params", "new_run_name", "resolve_tracking_uri"]

logger = logging.getLogger(__name__)

CHARTS = ("curves.png", "confusion_matrix.png", "roc_curves.png", "pr_curves.png", "reliability.png")
"""Pictures of figures, in which no patient is seen."""
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".svg", ".pdf")
IMAGES = (".nii", ".nii.gz", ".dcm", ".dicom", ".nrrd", ".mha", ".npy", ".npz")
PAGES = (".html",)
_TAG_LENGTH = 5000  # what every MLflow server takes


def new_run_name(*parts: str) -> str:
    """``part_part_YYYYmmdd_HHMMSS_xxxxxx``: new at every start, so that no run or folder is shared by accident.

    Args:
        parts: what the run is about, for example variant and data set; characters that do not suit a folder's name
            become ``-``.
    """
    about = [re.sub(r"[^0-9A-Za-z_.-]+", "-", str(part)).strip("-") for part in parts if part]
    return "_".join([*about, time.strftime("%Y%m%d_%H%M%S"), uuid.uuid4().hex[:6]])


def flatten_params(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as ``{"optimizer.lr": "0.001"}``; characters that MLflow refuses in names become ``_``."""
    flat: dict[str, str] = {}
    for key, value in params.items():
        name = f"{prefix}{re.sub(r'[^0-9A-Za-z_. /-]', '_', str(key))}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten_params(value, prefix=f"{name}."))
        else:
            flat[name] = str(value)
    return flat


def _is_picture(file: Path) -> bool:
    """Whether a file may show a patient: any picture or image but the known charts."""
    return file.name.lower().endswith(PICTURES + IMAGES) and file.name not in CHARTS


class MLflowTracker:
    """Ignite handler that tracks a bundle's run in MLflow. Attach **one** instance to the trainer and to its evaluator
    (as the last handler of each); or to an evaluator alone.

    Opens the run on rank 0 only and only when an engine starts (building a config touches no database); gives every
    start its own run name, so that it does not join an unfinished run of somebody else; logs settings, metrics, best
    model, curves, pictures and reports; marks the run FAILED when the engine raises, KILLED when it is interrupted
    (Ctrl-C, SIGTERM), FAILED with its error when another process of the training fails,
    FINISHED at the end, and FAILED at interpreter exit when nothing else closed it.

    A run that goes on after an interruption has each epoch once: a value that the epoch has there already, from before
    a checkpoint could be written, is not logged again. Tags of the failure are taken off.

    A tracking server that is not there when the run starts, or is lost while it runs, costs some seconds, not the
    training: a warning says so, and the whole run, with what was logged before, is kept in the SQLite file in
    ``output_dir`` from then on. What the server lacks is sent when it answers again, each value once: at the end of an
    epoch (asked after one minute, then after two, four, up to sixteen), at the end of the run, when the run is resumed,
    or by ``medssm tracking send``.

    MLflow's own usage telemetry is switched off, unless ``MLFLOW_DISABLE_TELEMETRY`` is set already.

    Files are named as :func:`~medssm_monai.utils.shown_names.shown_name` has them, in settings and errors too.

    The evaluator's metrics are logged at the trainer's epoch, because MONAI's ``ValidationHandler`` sets it.

    Args:
        output_dir: the run's output folder; holds ``mlruns.db`` and ``mlruns/`` unless ``MLFLOW_TRACKING_URI`` is set.
        experiment_name: one experiment per bundle.
        run_name: name of the run. ``None`` gives a new one per start; to resume, pass the old name: an unfinished or
            failed run of that name is continued, next to a finished one a new run is opened.
        data_name: what the run learns from, ``"demo"`` for the synthetic demo set or the data folder's name; becomes
            the tag ``data``.
        params: settings to log as parameters, nested dicts allowed. Those that the run already has stay as they are.
        tags: further tags.
        artifacts: files, folders or glob patterns logged when the run ends, also after a failure (what exists then).
            A folder keeps its name and structure. Must not contain the tracking store itself.
        tracking_uri: used when ``MLFLOW_TRACKING_URI`` is not set; ``None`` is the SQLite file in ``output_dir``.
        iteration_log: also log the loss of every iteration (as ``train_loss_iteration``), not only epoch means.
        provenance: what the run is made with; becomes tags.
        resume: ``True`` goes on with a finished run of that name too, instead of opening another one.
        pictures: also log pictures of patients: overlays, cases, explanations, whatever is no chart (``CHARTS``).
            Without them, pages (``report.html``) are logged with their pictures of patients left out.
            ``None``: only those of the synthetic demo set. They stay in the run's folder in any case.

    Attributes:
        run_id: of the run that was opened last.
        kept_in: address of the store that it is in.

    Raises:
        ValueError: ``artifacts`` contains the tracking store; or, when the run is opened, a folder as tracking URI.
        PermissionError: the output folder is not writable (when the run is opened).
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        experiment_name: str,
        run_name: str | None = None,
        data_name: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        artifacts: str | Sequence[str | os.PathLike[str]] = (),
        tracking_uri: str | None = None,
        iteration_log: bool = False,
        pictures: bool | None = None,
        provenance: Provenance | None = None,
        resume: bool | str = False,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.experiment_name = experiment_name
        self.run_name = run_name or new_run_name("run")
        self.tags = {**({"data": data_name} if data_name else {}), **(tags or {})}
        self.params = flatten_params(params or {})
        self.artifacts = [os.fspath(path) for path in ([artifacts] if isinstance(artifacts, str) else artifacts)]
        self.tracking_uri = tracking_uri
        self.iteration_log = iteration_log
        self.pictures = data_name == DEMO if pictures is None else pictures
        self.provenance = provenance
        self.resume = switch(resume, "resume")
        self.run_id: str | None = None
        self.kept_in: str | None = None
        self._owner: Engine | None = None
        self._store: MLflowStore | None = None
        self._sender: Sender | None = None  # once a server is lost
        self._metrics: list[Any] = []  # all of this run, for the local store should the server be lost
        store = self.output_dir.resolve() / "mlruns"
        inside = [path for path in self.artifacts if store.is_relative_to(Path(path).resolve())]
        if inside:
            raise ValueError(
                f"artifacts {inside} contain the tracking store {store} itself; name sub-folders or files."
            )

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer or evaluator. A trainer owns the run; an evaluator only when there is no trainer."""
        if isinstance(engine, Trainer):
            average_train_loss(engine)
        if process_rank() > 0:
            return
        if self._owner is None or (isinstance(engine, Trainer) and not isinstance(self._owner, Trainer)):
            self._owner = engine
        engine.add_event_handler(Events.STARTED, self._started)
        on_failure(engine, self._failed)

    def _started(self, engine: Engine) -> None:
        """Open the run, and take the last place among the engine's handlers: metrics and files must be there first."""
        if self._store is None:
            self._open(engine)
        for event, callback in self._callbacks(engine).items():
            if not engine.has_event_handler(callback, event):
                engine.add_event_handler(event, callback)

    def _callbacks(self, engine: Engine) -> dict[Events, Any]:
        callbacks: dict[Events, Any] = {Events.EPOCH_COMPLETED: self._epoch_completed}
        if engine is self._owner:
            callbacks[Events.COMPLETED] = self._completed
        if self.iteration_log and isinstance(engine, Trainer):
            callbacks[Events.ITERATION_COMPLETED] = self._iteration_completed
        return callbacks

    def _open(self, engine: Engine) -> None:
        # hospital data: nothing is sent that nobody asked for
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        uri = resolve_tracking_uri(self.output_dir, self.tracking_uri)
        writable_folder(self.output_dir)
        self._owner = self._owner or engine
        self._metrics, self._sender = [], None
        atexit.register(self._close, "FAILED")
        try:
            try:
                self._begin(uri)
                self._send_before()
            except StoreLostError as error:
                self._fall_back(uri, error)
        except BaseException:
            self._drop()
            raise
        logger.info(
            "MLflow run %s (experiment %s, data %s) at %s",
            self.run_name,
            self.experiment_name,
            self.tags.get("data", "not stated"),
            self.kept_in,
        )

    def _begin(self, uri: str) -> None:
        """Open the run in this store, and tell it what is known so far."""
        assert self._owner is not None  # it is known before a run begins
        self._store = MLflowStore(uri, self.experiment_name, self.run_name, self.resume)
        self._store.open(self._owner)
        self.run_id, self.kept_in = self._store.run_id, shown_uri(uri)
        self._store.remove_tags([name for name in OF_A_FAILURE if name not in self.tags])
        self._store.log_tags({**(self.provenance.tags() if self.provenance else {}), **self.tags})
        changed = self._store.log_params({name: shown_value(value) for name, value in self.params.items()})
        if changed:
            logger.warning(
                "MLflow run %s continues with other values of %s; it keeps the first.", self.run_name, changed
            )
        self._store.log_metrics(self._metrics)

    def _fall_back(self, lost: str, error: StoreLostError) -> None:
        local = local_uri(self.output_dir)
        logger.warning(
            "The MLflow server %s does not take this run (%s). The run goes on and is kept in %s, from its beginning; "
            "what the server lacks is sent when it answers again.",
            shown_uri(lost),
            error,
            local,
        )
        opened = self._store.run_id if self._store is not None else None
        self._begin(local)
        assert self._store is not None  # as it has just begun
        self._sender = Sender(lost, self._kept_in_file)
        resumed = {KEPT_RESUMED: "true"} if self.resume else {}
        self._store.log_tags(
            {KEPT_FOR: shown_uri(lost), **({KEPT_RUN: opened} if opened else {}), **resumed, SENT_AT: ""},
        )

    @property
    def _kept_in_file(self) -> Path:
        return self.output_dir.resolve() / "mlruns.db"

    def _send_before(self) -> None:
        """Send what was kept of this run when it was begun, and the server was lost."""
        store = self._store
        assert store is not None  # it has just begun
        if store.is_local or not self._kept_in_file.is_file():
            return
        from mlflow import MlflowClient

        try:
            kept = MlflowClient(tracking_uri=local_uri(self.output_dir))
            for run in kept_runs(kept):
                if run.info.run_name == self.run_name:
                    sent = send_run(kept, run.info.run_id, store.uri, lock_of(self._kept_in_file), ends=False)
                    logger.info("MLflow run %s: %d metrics that were kept are sent.", self.run_name, sent.metrics)
        except SendingElsewhereError as error:  # the server is there
            logger.info("MLflow run %s: %s.", self.run_name, error)
        except StoreLostError:
            raise
        except Exception:
            logger.exception("What was kept of MLflow run %s was not sent.", self.run_name)

    def _safely(self, action: Callable[[MLflowStore], object]) -> None:
        """Do something with the store; when it is a server that is lost, go on with the local one and do it there."""
        if self._store is None:
            return
        try:
            action(self._store)
        except StoreLostError as error:
            self._fall_back(self._store.uri, error)
            action(self._store)

    def _drop(self) -> None:
        """Forget the store: no run is open any more."""
        self._store = None
        atexit.unregister(self._close)

    def _log_metrics(self, values: Mapping[str, Any], step: int) -> None:
        """Log finite and non-finite scalars; a store that fails must not end a training of hours."""
        from mlflow.entities import Metric

        if self._store is None:
            return
        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        try:
            self._safely(lambda store: store.log_metrics(metrics))
        except Exception:
            logger.exception("MLflow did not take the metrics of step %d; training goes on.", step)
            return  # what one store refuses the next one would refuse too, and all that is sent with it
        if not self._store.is_local:
            self._metrics += metrics

    def _epoch_completed(self, engine: Engine) -> None:
        values: dict[str, Any] = dict(engine.state.metrics)
        optimizer = getattr(engine, "optimizer", None)
        if optimizer is not None:
            values["lr"] = optimizer.param_groups[0]["lr"]
        self._log_metrics(scalars(values), engine.state.epoch)
        if self._sender is not None and self._store is not None and self.run_id is not None:
            self._sender.try_now_and_then(self._store.client, self.run_id)

    def _iteration_completed(self, engine: Engine) -> None:
        loss = loss_of(engine.state.output)
        if loss is not None:
            self._log_metrics({"train_loss_iteration": float(loss)}, engine.state.iteration)

    def _completed(self, engine: Engine) -> None:
        self._close("FINISHED")

    def _failed(self, engine: Engine, error: BaseException) -> None:
        if engine is not self._owner or self._store is None:
            return
        elsewhere = failure_elsewhere()
        said = shown_text(elsewhere or f"{type(error).__name__}: {error}")[:_TAG_LENGTH]
        where = shown_text("".join(traceback.format_exception(error)))[-_TAG_LENGTH:]
        tags = dict(zip(OF_A_FAILURE, (said, where), strict=True))
        self.tags.update(tags)
        try:
            self._safely(lambda store: store.log_tags(tags))
        finally:
            self._close("KILLED" if was_interrupted(error) and elsewhere is None else "FAILED")

    def _log_artifacts(self, store: MLflowStore) -> None:
        kept_back = 0
        for pattern in self.artifacts:
            found = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
            if not found:
                logger.warning("MLflow artifact %s does not exist and was not logged.", pattern)
            for path in found:
                root = Path(path).resolve()
                for file in sorted(root.rglob("*")) if root.is_dir() else [Path(path)]:
                    if not self.pictures and _is_picture(file):
                        kept_back += 1
                    elif file.is_file():
                        folder = file.parent.relative_to(root.parent).as_posix() if root.is_dir() else None
                        self._log_file(store, file, folder)
        if kept_back:
            logger.info(
                "%d pictures of patients stay in the run's folder; --tracker#pictures True logs them to MLflow too.",
                kept_back,
            )

    def _log_file(self, store: MLflowStore, file: Path, folder: str | None) -> None:
        if self.pictures or file.suffix.lower() not in PAGES:
            store.log_file(str(file), folder)
            return
        with tempfile.TemporaryDirectory(prefix="medssm_page_") as place:
            page = Path(place) / file.name
            write_text(page, without_pictures(file.read_text(encoding="utf-8")))
            store.log_file(str(page), folder)

    def _close(self, status: str) -> None:
        """Log the artifacts and end the run with ``status``; nothing happens when no run is open."""
        if self._store is None:
            return
        try:
            self._safely(lambda store: self._end(store, status))
        except Exception:
            logger.exception("MLflow run %s was not closed; its status there may be wrong.", self.run_name)
        self._drop()

    def _end(self, store: MLflowStore, status: str) -> None:
        if self.provenance is not None:
            store.log_tags(self.provenance.tags())
        try:
            self._log_artifacts(store)
        except StoreLostError:
            raise
        except Exception:
            logger.exception("MLflow artifacts of run %s were not logged.", self.run_name)
        if self._sender is not None and store.is_local and store.run_id is not None:
            store.end(status, int(time.time() * 1000))
            self._sender.send_all(store.client, store.run_id)
        store.close(status)
