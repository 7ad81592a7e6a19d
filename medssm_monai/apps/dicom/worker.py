"""Takes series and studies from the queue, predicts them, and stores the results in Orthanc."""

from __future__ import annotations

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...data.studies.headers import read_header
from ...utils.errors import describe_error, ends_the_run
from ...utils.files import writable_folder
from .in_orthanc.rules import content_of
from .in_orthanc.study_queue import Item, StudyQueue
from .orthanc_client import Gone, OrthancClient, Refused, Unreachable

__all__ = ["Engine", "Worker", "WorkerOptions"]

logger = logging.getLogger(__name__)
PREDICTED = "predicted"  # file in the spool of an item: nothing is left but to store
LONGEST_WAIT = 30.0  # seconds between two looks whether Orthanc is there


class Engine(Protocol):
    """What predicts a folder: :class:`~medssm_monai.dicom.engine.StudyEngine`, or something of its shape."""

    def run(self, folder: Path, output_dir: Path) -> Iterator[Any]:
        """Predict what is in a folder; results say ``state`` (``done``, ``done before``, ``failed``), ``reason``."""


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
        images, results, predicted = place / "images", place / "results", place / PREDICTED
        for other in self.options.spool.glob(f"{item.id}-*"):
            if other != place:
                shutil.rmtree(other)  # of what it was before further instances came
        failures: list[str] = []
        writable_folder(place, remedy="Name another folder with --spool.")
        if not predicted.exists():
            shutil.rmtree(images, ignore_errors=True)  # of a worker that was killed
            images.mkdir(mode=0o700)
            series = self.client.sources(item.level, item.resource)
            if not series:
                return "given up", "no images in Orthanc", 0
            if content_of(series) != item.content:
                logger.info("item %d: has changed in Orthanc since it was queued", item.id)
            self.client.download(series, images)
            jobs = 0
            for result in self.engine.run(images, results):
                jobs += 1
                if result.state == "failed":
                    failures.append(f"series {result.series_uid}: {self._private(result.reason)}")
                self._go_on(lost)
            shutil.rmtree(images)
            if not jobs:
                return "given up", f"nothing in it that {self.options.name} predicts", 0
            if not failures:
                predicted.touch()
        stored = []
        for path in sorted(results.rglob("*.dcm")):
            if not any(part.startswith(".") for part in path.relative_to(results).parts):
                self._go_on(lost)
                stored.append(self._store(path))
        for receiver in self.options.send_to if stored else ():
            self._go_on(lost)
            self.client.send(stored, receiver)
        if failures:
            return "failed", "; ".join(failures), len(stored)
        return "done", "", len(stored)

    def _store(self, path: Path) -> str:
        if not self.options.dicomweb:
            return self.client.store(path)
        return self.client.store_web(path, str(read_header(path).SOPInstanceUID))

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
        return self.options.spool / f"{item.id}-{item.content}"

    def _private(self, reason: str) -> str:
        """A reason without the folders of this computer."""
        return reason.replace(f"{self.options.spool}{os.sep}", "")

    def _tidy(self) -> None:
        """Remove what killed workers have left of items that are ended."""
        kept = {
            self._spool(item).name
            for item in self.queue.listing()
            if item.state not in ("done", "given up")
        }
        numbers = {item.id for item in self.queue.listing()}
        for folder in self.options.spool.iterdir():
            number = folder.name.partition("-")[0]
            if folder.is_dir() and number.isdigit() and int(number) in numbers and folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)
