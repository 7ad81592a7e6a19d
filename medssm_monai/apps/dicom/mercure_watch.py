"""Watches a folder for tasks of the router mercure, for sites that do not run its modules in containers."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...utils.errors import describe_error, ends_the_run
from ...utils.files import replace_file, writable_folder
from .in_orthanc.study_queue import pause
from .mercure_task import TASK, TaskError, read_settings, run_task

__all__ = ["WatchOptions", "Watcher"]

logger = logging.getLogger(__name__)
LOCK, PROCESSING, ERROR = ".lock", ".processing", ".error"
"""Files by which mercure's services tell each other that a folder is being written, is at work, or has failed."""
PROGRAM = "medssm-monai"
WATCHER = ".medssm-watcher.lock"


@dataclass(frozen=True)
class WatchOptions:
    """Where tasks come from and go to.

    Attributes:
        watch: folder of tasks, a folder each.
        output: gets the results of a task, and its ``task.json``, in a folder of the same name.
        errors: gets tasks that have failed, with the reason in ``.error``.
        max_attempts: before a task counts as failed.
        poll: seconds between two looks.
    """

    watch: Path
    output: Path
    errors: Path
    max_attempts: int = 3
    poll: float = 1.0


class _Stopped(Exception):
    """The watcher is to end."""


class Watcher:
    """Does the tasks of a folder, one after the other, each once.

    A task is a folder with ``task.json`` and none of mercure's marks. It is marked with ``.processing``, which stays
    between attempts and says when the next one is due; a later watcher goes on with what a killed one has marked.

    Args:
        engine: gives the engine for the settings of a task.
        options: folders.
    """

    def __init__(self, engine: Callable[[dict[str, Any]], Any], options: WatchOptions) -> None:
        self.engine, self.options = engine, options
        self.stopping = threading.Event()
        self._ours = f".medssm-{hashlib.sha256(os.fsencode(options.watch.absolute())).hexdigest()[:12]}-"

    def stop(self) -> None:
        """End after the prediction at hand; its task stays where it is."""
        self.stopping.set()

    def run(self, once: bool = False) -> None:
        """Watch until :meth:`stop`, or with ``once`` until no task is left.

        Raises:
            FileExistsError: another watcher is at work here.
            PermissionError: a folder cannot be written into.
        """
        options = self.options
        writable_folder(options.watch, options.output, options.errors, remedy="Make it writable, or name another one.")
        lock = FileLock(options.watch / WATCHER)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise FileExistsError("another watcher is at work in this folder; end it first.") from None
        try:
            for folder in (options.watch, options.output):
                for remains in folder.glob(f"{self._ours}*"):  # of a watcher that was killed
                    shutil.rmtree(remains) if remains.is_dir() else remains.unlink()
            for final in options.output.iterdir():  # results of a task that it had removed, but not their mark
                if self._locked(final) and not (options.watch / final.name).exists():
                    (final / LOCK).unlink()
            while not self.stopping.is_set():
                left = self.look()
                if once and not left:
                    return
                self.stopping.wait(options.poll)
        finally:
            lock.release()

    def look(self) -> int:
        """Do what is due; returns how many tasks are left for later."""
        left = 0
        for folder in sorted(self.options.watch.iterdir()):
            if self.stopping.is_set():
                break
            if not folder.is_dir() or folder.is_symlink() or folder.name.startswith("."):
                continue
            if self._complete(folder):
                continue
            state = self._state(folder)
            if state is None:
                continue
            if state["next_try"] > time.time():
                left += 1
                continue
            left += not self._do(folder, int(state["attempts"]))
        return left

    def _complete(self, folder: Path) -> bool:
        """End what a killed watcher has left of a task whose results lie in their place."""
        final = self.options.output / folder.name
        if not self._locked(final):
            return False
        shutil.rmtree(folder)
        (final / LOCK).unlink()
        return True

    def _locked(self, final: Path) -> bool:
        """Whether results are still marked by a watcher of this folder; one of another may share the output."""
        return _marked(final / LOCK).get("watcher") == self._ours

    def _state(self, folder: Path) -> dict[str, Any] | None:
        """Attempts of a task and when the next is due; None where it is not for us."""
        if (folder / LOCK).exists() or (folder / ERROR).exists() or not (folder / TASK).is_file():
            return None
        mark = folder / PROCESSING
        if not mark.exists():
            return {"attempts": 0, "next_try": 0.0}
        return _marked(mark) or None

    def _do(self, folder: Path, attempts: int) -> bool:
        """One attempt at a task; whether it has left the folder."""
        attempts += 1
        called = _called(folder.name)
        if attempts > self.options.max_attempts:
            return self._fail(folder, f"the watcher ended without a word {attempts - 1} times while it was at it")
        if not (folder / PROCESSING).exists() and not self._take(folder):
            return False  # another service was faster
        _mark(folder / PROCESSING, attempts, 0.0)
        logger.info("%s: begun, attempt %d", called, attempts)
        try:
            said = self._predict(folder)
        except _Stopped:
            _mark(folder / PROCESSING, attempts - 1, 0.0)
            return False
        except Exception as error:
            reason = str(error) if isinstance(error, TaskError) else describe_error(error)
            for place in (folder, self.options.output / folder.name):
                reason = reason.replace(str(place), "(task)")
            if ends_the_run(error):
                _mark(folder / PROCESSING, attempts - 1, time.time() + pause(1))
                logger.error("%s: waits: %s", called, reason)
                if not isinstance(error, OSError):
                    raise
                return False
            if attempts >= self.options.max_attempts:
                return self._fail(folder, reason)
            _mark(folder / PROCESSING, attempts, time.time() + pause(attempts))
            logger.warning("%s: attempt %d of %d: %s", called, attempts, self.options.max_attempts, reason)
            return False
        logger.info("%s: done, %d predictions", called, len(said["predictions"]))
        return True

    def _take(self, folder: Path) -> bool:
        """Mark a task in one step, whole; False where somebody else has."""
        mark = self.options.watch / f"{self._ours}{uuid.uuid4().hex}"
        _mark(mark, 0, 0.0)
        try:
            os.link(mark, folder / PROCESSING)
        except FileExistsError:
            return False
        finally:
            mark.unlink()
        return True

    def _predict(self, folder: Path) -> dict[str, Any]:
        """Results in the folder for them, in one step; then the task is removed."""
        final = self.options.output / folder.name
        if final.exists():
            raise TaskError("the output folder holds results of a task of this name; move them away.")
        place = self.options.output / f"{self._ours}{uuid.uuid4().hex}"
        part, work = place / "results", place / "work"
        for made in (place, part, work):
            made.mkdir(mode=0o700)
        try:
            settings = read_settings(folder)
            said = run_task(self.engine(settings), folder, part, self._go_on, work)
            shutil.copyfile(folder / TASK, part / TASK)
            if _retains_images(folder):
                for path in sorted(folder.glob("*.dcm")):
                    shutil.copyfile(path, part / path.name)
            _mark(part / LOCK, 0, 0.0, watcher=self._ours)
            os.rename(part, final)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        self._complete(folder)
        return said

    def _go_on(self) -> None:
        if self.stopping.is_set():
            raise _Stopped

    def _fail(self, folder: Path, reason: str) -> bool:
        with replace_file(folder / ERROR) as part:
            part.write_text(reason + "\n", encoding="utf-8")
        (folder / PROCESSING).unlink(missing_ok=True)
        target = self.options.errors / folder.name
        if target.exists():
            target = self.options.errors / f"{folder.name}_{uuid.uuid4().hex[:8]}"
        shutil.move(folder, target)
        logger.error("%s: failed: %s", _called(folder.name), reason)
        return True


def _mark(path: Path, attempts: int, next_try: float, **more: str) -> None:
    said = {"program": PROGRAM, "attempts": attempts, "next_try": next_try, **more}
    with replace_file(path) as part:
        part.write_text(json.dumps(said), encoding="utf-8")


def _marked(mark: Path) -> dict[str, Any]:
    """What a mark of this program says; nothing where there is none, or it is of another service."""
    try:
        said = dict(json.loads(mark.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
    return said if said.get("program") == PROGRAM else {}


def _retains_images(folder: Path) -> bool:
    process = json.loads((folder / TASK).read_text(encoding="utf-8")).get("process") or {}
    first = process[0] if isinstance(process, list) else process
    return bool(first.get("retain_input_images"))


def _called(name: str) -> str:
    """A task in messages: mercure's names are random, others may be those of patients."""
    try:
        return f"task {uuid.UUID(name)}"
    except ValueError:
        return f"task {hashlib.sha256(name.encode()).hexdigest()[:12]} (SHA-256 of its name)"
