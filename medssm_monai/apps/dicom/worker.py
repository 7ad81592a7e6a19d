"""Takes series and studies from the queue, predicts them, and stores the results in Orthanc."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ...utils.errors import describe_error, ends_the_run
from ...utils.files import replace_file, writable_folder
from .in_orthanc.rules import content_of
from .in_orthanc.study_queue import Item, StudyQueue
from .orthanc_client import Gone, OrthancClient, Unreachable

__all__ = ["Engine", "Worker", "WorkerOptions"]

logger = logging.getLogger(__name__)
PREDICTED = "predicted.json"  # in the spool of an item: nothing is left but to store
LONGEST_WAIT = 30.0  # seconds between two looks whether Orthanc is there


class Engine(Protocol):
    """What predicts a folder: :class:`~medssm_monai.dicom.engine.StudyEngine`, or something of its shape."""

    def plan(self, folder: Path) -> Any:
        """What is in a folder: a :class:`~medssm_monai.dicom.engine.StudyPlan`."""

    def run(self, plan: Any, output_dir: Path) -> Iterator[Any]:
        """Predict it: a :class:`~medssm_monai.dicom.engine.JobResult` for each job."""

    def result_folder(self, job: Any, output_dir: Path) -> Path:
        """Where the results of a job lie, by a name that is the same in every run."""


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker works.

    Attributes:
        name: of the bundle in the rules and the queue.
        spool: folder of images at work, and of results until they are stored; only its owner can read it.
        max_attempts: before an item counts as failed.
        lease: seconds after which the item of a killed worker is taken again.
        poll: seconds between two looks at an empty queue.
        dicomweb: store by STOW-RS.
        send_to: receivers that Orthanc sends the results on to.
    """

    name: str
    spool: Path
    max_attempts: int = 3
    lease: float = 60.0
    poll: float = 1.0
    dicomweb: bool = False
    send_to: tuple[str, ...] = ()


@dataclass
class _Outcome:
    """What became of the predictions of an item; in a file beside the results until they are stored."""

    content: str
    objects: list[str] = field(default_factory=list)  # files, relative to the spool of the item
    results: list[str] = field(default_factory=list)  # names of the predictions
    failures: list[str] = field(default_factory=list)
    nothing: str = ""  # why there was nothing to predict

    def write(self, path: Path) -> None:
        with replace_file(path) as part:
            part.write_text(json.dumps(asdict(self)), encoding="utf-8")


def _read_outcome(path: Path, content: str) -> _Outcome | None:
    """The outcome of an earlier attempt with the same images whose results were not all stored; or None."""
    try:
        outcome = _Outcome(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    there = all((path.parent / name).is_file() for name in outcome.objects)
    return outcome if there and outcome.content == content else None


class _Lost(Exception):
    """The item is another worker's by now."""


class _Stopped(Exception):
    """The worker is to end."""


class Worker:
    """One process that works at one bundle's items.

    Args:
        queue: of the items.
        client: of Orthanc.
        engine: predicts.
        options: how.
    """

    def __init__(self, queue: StudyQueue, client: OrthancClient, engine: Engine, options: WorkerOptions) -> None:
        self.queue, self.client, self.engine, self.options = queue, client, engine, options
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.stopping = threading.Event()

    def stop(self) -> None:
        """Let the worker end after the prediction at hand; its item goes back to the queue, or is finished."""
        self.stopping.set()

    def run(self, once: bool = False) -> None:
        """Work until :meth:`stop`, or with ``once`` until nothing is due.

        Raises:
            Exception: what every further item would meet as well, such as a lost GPU; the item is in the queue again.
        """
        writable_folder(self.options.spool, remedy="Name another folder with --spool.")
        self._tidy()
        failures = 0
        while not self.stopping.is_set():
            try:
                if failures or not once:
                    self.client.check()  # without Orthanc no item is touched
                worked = self.work_one()
                failures = 0
            except (Unreachable, sqlite3.OperationalError) as error:
                failures += 1
                wait = min(2.0 ** (failures - 1), LONGEST_WAIT)
                logger.warning("%s Tried again in %g s.", describe_error(error), wait)
                self.stopping.wait(wait)
                continue
            if not worked:
                if once:
                    return
                self.stopping.wait(self.options.poll)

    def work_one(self) -> bool:
        """Work at the item whose turn it is; False where there is none.

        Raises:
            sqlite3.OperationalError: the queue is locked.
        """
        options = self.options
        item = self.queue.claim(options.name, self.owner, options.lease, options.max_attempts)
        if item is None:
            return False
        what = f"{item.level} {item.series_uid or item.study_uid}"
        logger.info("%s: begun (item %d, attempt %d)", what, item.id, item.attempts)
        begun = time.monotonic()
        try:
            with self._held(item) as lost:
                state, reason, objects = self._work(item, lost)
        except _Lost:
            logger.warning("%s: taken by another worker meanwhile; left to it", what)
            return True
        except _Stopped:
            self._write(lambda: self.queue.release(item, delay=0.0))
            logger.info("%s: back in the queue, the worker ends", what)
            return True
        except Gone:
            state, reason, objects = "given up", "no longer in Orthanc", 0
        except Unreachable as error:
            logger.warning("%s: waits: %s", what, error)
            self._write(lambda error=error: self.queue.release(item, str(error)))
            return True
        except Exception as error:
            reason = self._private(describe_error(error))
            if ends_the_run(error):
                logger.error("%s: waits: %s", what, reason)
                self._write(lambda: self.queue.release(item, reason))
                if not isinstance(error, OSError):
                    raise
                return True
            state, objects = "failed", 0
        except BaseException:
            self._write(lambda: self.queue.release(item, delay=0.0))
            raise
        if state == "failed" and item.attempts < options.max_attempts:
            logger.warning("%s: attempt %d of %d: %s", what, item.attempts, options.max_attempts, reason)
            self._write(lambda: self.queue.release(item, reason, counted=True))
            return True
        if self._write(lambda: self.queue.finish(item, state, reason, objects)) and state != "failed":
            shutil.rmtree(self._spool(item), ignore_errors=True)
        seconds = time.monotonic() - begun
        level = logging.ERROR if state == "failed" else logging.INFO
        logger.log(
            level, "%s: %s%s (%d objects, %.1f s)", what, state, f": {reason}" if reason else "", objects, seconds
        )
        return True

    def _work(self, item: Item, lost: threading.Event) -> tuple[str, str, int]:
        """State, reason and number of stored objects of an item."""
        place = self._spool(item)
        writable_folder(place, remedy="Name another folder with --spool.")
        outcome = _read_outcome(place / PREDICTED, item.content)
        if outcome is None:
            series = self.client.sources(item.level, item.resource)
            if not series:
                return "given up", "no images in Orthanc", 0
            outcome = self._predict(item, series, place, lost)
            if outcome.nothing:
                return "given up", outcome.nothing, 0
            outcome.write(place / PREDICTED)
        stored = []
        for name in outcome.objects:
            self._go_on(lost)
            stored.append(self._store(place / name))
        for receiver in self.options.send_to if stored else ():
            self._go_on(lost)
            self.client.send(stored, receiver)
        self.queue.note_stored(item, outcome.results)
        if outcome.failures:
            (place / PREDICTED).unlink()  # the next attempt predicts what is missing
            return "failed", "; ".join(outcome.failures), len(stored)
        return "done", "", len(stored)

    def _predict(self, item: Item, series: list[dict[str, Any]], place: Path, lost: threading.Event) -> _Outcome:
        """Predict what of an item was not stored before: series may get further images after they were predicted."""
        images, results = place / "images", place / "results"
        shutil.rmtree(images, ignore_errors=True)  # of a worker that was killed
        images.mkdir(mode=0o700)
        outcome = _Outcome(content_of(series))
        try:
            self.client.download(series, images)
            plan = self.engine.plan(images)
            if not plan.jobs:
                reasons = sorted({passed.reason for passed in plan.passed})
                outcome.nothing = "; ".join([f"nothing in it for {self.options.name}", *reasons])
            if plan.lost:
                outcome.nothing = ""
                reasons = sorted({reason for _, reason in plan.lost})
                outcome.failures.append(f"{len(plan.lost)} not used: " + "; ".join(reasons))
            before = self.queue.stored(item)
            jobs = tuple(job for job in plan.jobs if self.engine.result_folder(job, results).name not in before)
            for result in self.engine.run(replace(plan, jobs=jobs), results):
                if result.state == "failed":
                    outcome.failures.append(f"series {result.series_uid}: {result.reason}")
                else:
                    outcome.results.append(result.folder.name)
                    outcome.objects += [str(path.relative_to(place)) for path in result.objects]
                self._go_on(lost)
        finally:
            shutil.rmtree(images, ignore_errors=True)
        return outcome

    def _store(self, path: Path) -> str:
        if not self.options.dicomweb:
            return self.client.store(path)
        from pydicom import dcmread

        return self.client.store_web(path, str(dcmread(path, stop_before_pixels=True).SOPInstanceUID))

    def _go_on(self, lost: threading.Event) -> None:
        if lost.is_set():
            raise _Lost
        if self.stopping.is_set():
            raise _Stopped

    @contextmanager
    def _held(self, item: Item) -> Iterator[threading.Event]:
        """Renew the lease of an item during the block; the event says that another worker has it."""
        lost, over = threading.Event(), threading.Event()

        def renew() -> None:
            while not over.wait(self.options.lease / 3):
                try:
                    if not self.queue.renew(item, self.options.lease):
                        return lost.set()
                except sqlite3.OperationalError as error:
                    logger.warning("the queue cannot be written: %s", error)

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield lost
        finally:
            over.set()
            thread.join()

    def _write(self, change: Any) -> bool:
        """Write the outcome of an item, as soon as the queue can be written.

        A worker that is to end does not wait: its lease ends, and the results in the spool are stored then.
        """
        while True:
            try:
                return bool(change())
            except sqlite3.OperationalError as error:
                logger.warning("the queue cannot be written: %s; tried again", error)
                if self.stopping.wait(1.0):
                    return False

    def _spool(self, item: Item) -> Path:
        return self.options.spool / str(item.id)

    def _private(self, reason: str) -> str:
        """A reason without the folders of this computer."""
        return reason.replace(f"{self.options.spool}{os.sep}", "")

    def _tidy(self) -> None:
        """Remove what killed workers have left of items that are ended."""
        ended = {str(item.id) for item in self.queue.listing() if item.state in ("done", "given up")}
        for folder in self.options.spool.iterdir():
            if folder.name in ended:
                shutil.rmtree(folder, ignore_errors=True)
