"""Runs that a tracking server did not take: kept in a SQLite file, and sent to the server later, everything once."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from ..utils.files import file_sha256
from .mlflow_store import PARENT_TAG, MLflowStore, StoreLostError, shown_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = [
    *("KEPT_FOR", "KEPT_RESUMED", "KEPT_RUN", "OF_A_FAILURE", "SENT_AT", "Sender", "SendingElsewhereError", "Sent"),
    *("kept_runs", "lock_of", "send_run"),
]

logger = logging.getLogger(__name__)
KEPT_FOR, KEPT_RUN, SENT_AT = "kept_for", "kept_for_run", "sent_at"
"""Tags of a kept run: the server's address without a password, its run there, and when all was sent ("": not yet)."""
KEPT_RESUMED = "kept_resumed"
"""Tag of a kept run that goes on with a finished one of its name, where the server has one."""
SENT_FILE = "sent_file."
"""Tags of a kept run, one for each artifact that was sent: the server's run and the file's SHA-256 (the size says
nothing: the weights of one network always have the same)."""
OF_A_FAILURE = ("error", "traceback")
"""Tags that a run has from its failure on until it goes on."""
PAUSES = (60.0, 960.0)
"""Seconds between two tries while a training runs: at first, and at most; each that fails doubles them."""
PATIENCE = 30.0


class SendingElsewhereError(StoreLostError):
    """Another process is sending runs of the same file."""


@dataclass(frozen=True)
class Sent:
    """What a server has now.

    Attributes:
        run_id: of the run there.
        metrics: values that it did not have before.
        files: artifacts that were sent.
        whole: whether nothing will follow: the kept run has ended, or goes on at the server.
    """

    run_id: str
    metrics: int
    files: int
    whole: bool


def kept_runs(kept: MlflowClient, sent: bool = False) -> list[Run]:
    """Runs of a store that were kept for a server, the oldest first.

    Args:
        kept: client of the store.
        sent: with those that were sent.
    """
    experiments = [experiment.experiment_id for experiment in kept.search_experiments()]
    token, found = None, []
    while experiments:
        page = kept.search_runs(experiments, f"tags.{KEPT_FOR} LIKE '%'", order_by=["start_time"], page_token=token)
        found += [run for run in page if sent or not run.data.tags.get(SENT_AT)]
        token = page.token
        if not token:
            break
    return found


def send_run(
    kept: MlflowClient, run_id: str, uri: str, lock: Path, patience: float = PATIENCE, ends: bool = True
) -> Sent:
    """Bring a server's run up to a kept one: settings, tags, files, and every metric once, whatever was sent before.

    Args:
        kept: client of the store in which the run is kept.
        run_id: of the kept run.
        uri: of the server.
        lock: file that makes sure that one process sends at a time.
        patience: seconds to wait for another one that sends.
        ends: whether the server's run ends as the kept one did; not when it goes on there. Then a kept run that has not
            ended (its process was killed) ends as killed.

    Raises:
        StoreLostError: the server does not answer.
        SendingElsewhereError: another process is sending.
        MlflowException: the server refuses what it is sent.
    """
    try:
        with FileLock(lock, timeout=patience):
            return _send(kept, run_id, uri, ends)
    except Timeout:
        raise SendingElsewhereError("another process is sending these runs") from None


def _send(kept: MlflowClient, run_id: str, uri: str, ends: bool) -> Sent:
    run = kept.get_run(run_id)
    store = MLflowStore(uri, kept.get_experiment(run.info.experiment_id).name, run.info.run_name)
    there = store.join(run, run.data.tags.get(KEPT_RUN), KEPT_RESUMED in run.data.tags)
    if run.data.tags.get(KEPT_RUN) != store.run_id:
        kept.set_tag(run_id, KEPT_RUN, store.run_id)
    ended = run.info.end_time is not None and run.info.status != "RUNNING"
    went_on = ended and there.info.status != "RUNNING" and (there.info.end_time or 0) >= run.info.end_time
    latest = ends and not went_on  # what the kept run says of its end holds
    _send_tags(run, store, there, latest)
    store.log_params(run.data.params)
    points = [point for name in run.data.metrics for point in kept.get_metric_history(run_id, name)]
    metrics = store.log_metrics(points)
    files = _send_files(kept, run, store, went_on)
    if ended and latest:
        store.end(run.info.status, run.info.end_time)
    if not ended and not ends:
        kept.set_terminated(run_id, "KILLED")
    if ended or not ends:
        kept.set_tag(run_id, SENT_AT, datetime.now(timezone.utc).isoformat(timespec="seconds"))
    return Sent(str(store.run_id), metrics, files, ended or not ends)


def _send_tags(run: Run, store: MLflowStore, there: Run, latest: bool) -> None:
    """Send tags that are not MLflow's own; to a run that goes on, or went on, only those that it lacks."""
    apart = (KEPT_FOR, KEPT_RUN, KEPT_RESUMED, SENT_AT)
    own = {key: value for key, value in run.data.tags.items() if key not in apart and not key.startswith(SENT_FILE)}
    own = {key: value for key, value in own.items() if key == PARENT_TAG or not key.startswith("mlflow.")}
    known = there.data.tags
    if latest:
        store.log_tags({key: value for key, value in own.items() if known.get(key) != value})
        store.remove_tags([name for name in OF_A_FAILURE if name not in own])
    else:
        store.log_tags({key: value for key, value in own.items() if key not in known and key not in OF_A_FAILURE})


def _send_files(kept: MlflowClient, run: Run, store: MLflowStore, went_on: bool) -> int:
    """Send artifacts, but those that were sent as they are now, or that a run which went on has of its own."""
    from mlflow.utils.file_utils import local_file_uri_to_path

    own = _files(kept.list_artifacts, run.info.run_id)
    there = _files(store.list_files, store.run_id) if own else []
    root = Path(local_file_uri_to_path(run.info.artifact_uri))
    sent = 0
    for path in own:
        mark = SENT_FILE + hashlib.sha256(path.encode()).hexdigest()[:16]
        state = f"{store.run_id} {file_sha256(root / path)}"
        if path in there and (went_on or run.data.tags.get(mark) == state):
            continue
        store.log_file(str(root / path), path.rpartition("/")[0] or None)
        kept.set_tag(run.info.run_id, mark, state)
        sent += 1
    return sent


def _files(listing: Any, run_id: str | None, folder: str | None = None) -> list[str]:
    found: list[str] = []
    for info in listing(run_id, folder):
        found += _files(listing, run_id, info.path) if info.is_dir else [info.path]
    return found


class Sender:
    """Sends one kept run while its training goes on, and once more at the end; says what happens, and never raises.

    Args:
        uri: of the server.
        kept_in: the SQLite file in which the run is kept.
    """

    def __init__(self, uri: str, kept_in: Path) -> None:
        self.uri, self.kept_in = uri, kept_in
        self.lost = True
        self._pause = PAUSES[0]
        self._next = time.monotonic() + self._pause

    def try_now_and_then(self, kept: MlflowClient, run_id: str) -> None:
        """Send what there is, unless the last try was a moment ago."""
        if time.monotonic() < self._next:
            return
        try:
            sent = send_run(kept, run_id, self.uri, self.lock, patience=0.0)
        except Exception as error:
            if not self.lost:
                logger.warning("The MLflow server %s is lost again (%s); training goes on.", shown_uri(self.uri), error)
            self.lost, self._pause = True, min(2 * self._pause, PAUSES[1])
        else:
            if self.lost:
                logger.info(
                    "The MLflow server %s answers again: %d metrics were sent; the next follow from time to time.",
                    *(shown_uri(self.uri), sent.metrics),
                )
            self.lost, self._pause = False, PAUSES[0]
        self._next = time.monotonic() + self._pause

    def send_all(self, kept: MlflowClient, run_id: str) -> None:
        """Send the run that has ended, or say how to send it later."""
        try:
            sent = send_run(kept, run_id, self.uri, self.lock)
        except Exception as error:
            logger.warning(
                "The MLflow server %s does not have all of this run (%s); it is kept in %s. Send it when the server "
                "is back: medssm tracking send %s",
                *(shown_uri(self.uri), error, self.kept_in, self.kept_in.parent),
            )
        else:
            self.lost = False
            logger.info("The MLflow server %s has all of this run now (run %s).", shown_uri(self.uri), sent.run_id)

    @property
    def lock(self) -> Path:
        """File that is locked while something is sent."""
        return lock_of(self.kept_in)


def lock_of(kept_in: Path) -> Path:
    """The file that is locked while runs of a SQLite file are sent."""
    return kept_in.with_name(f".{kept_in.name}.sending.lock")
