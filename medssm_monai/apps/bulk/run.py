"""Hands studies out, and writes down what becomes of each."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ...bundle.interruption import was_interrupted
from ...data.fingerprint import Fingerprint
from ...dicom.finished import clear_leftovers
from .drift import BATCH, Batch
from .in_process import Pool
from .manifest import DEATHS, Manifest
from .outcome import Outcome
from .progress import Progress
from .sources import Source
from .study import Study
from .work import RESULTS

__all__ = ["BulkRun", "EndsTheRunError"]

logger = logging.getLogger(__name__)
CHUNK = 256  # studies that are noted at once


class EndsTheRunError(RuntimeError):
    """What every further study would meet as well, such as a full disk."""


@dataclass
class BulkRun:
    """One run over a source; an earlier one, ended or killed, is gone on with.

    Args:
        source: of the studies.
        manifest: of the folder of the results.
        out: that folder.
        fingerprints: of the training images, by key of the image.

    Attributes:
        ended: studies that ended in this run.
        deaths: workers that died.
        peak_mb: the most memory of any worker.
        seconds, rate: that the studies took, without the start.
    """

    source: Source
    manifest: Manifest
    out: Path
    fingerprints: Mapping[str, Fingerprint] = field(default_factory=dict)
    ended: int = 0
    deaths: int = 0
    peak_mb: float = 0.0
    seconds: float = 0.0
    rate: float = 0.0

    def __post_init__(self) -> None:
        self._again: deque[Study] = deque()  # those that workers have died of: last, so that they hold up no others
        self._noted = self._stream()
        self._waiting: deque[Study] = deque()
        self._batch, self._sums = self._open_batch()
        self._here = True
        self._progress: Progress | None = None

    def _open_batch(self) -> tuple[int, Batch]:
        newest = self.manifest.last_batch()
        if newest is None:
            return 1, Batch(self.fingerprints)
        number, sums = newest
        if sums["studies"] >= BATCH:
            return number + 1, Batch(self.fingerprints)
        return number, Batch(self.fingerprints).merge(sums)

    def prepare(self) -> bool:
        """Take up what an earlier run left; returns whether there is anything to do."""
        left = self.manifest.take_up()
        if left:
            logger.info("%d studies were at work when the earlier run ended; they are done again", left)
        clear_leftovers(self.out / RESULTS)
        return self._fill()

    def _stream(self) -> Iterator[list[Study]]:
        """Studies that wait, in parts, as they are asked for."""
        self.manifest.begin_pass()
        studies = iter(self.source)
        while part := list(islice(studies, CHUNK)):
            for study in part:
                if study.wrong:
                    self._pass_over(study)
            due = self.manifest.note([study for study in part if not study.wrong])
            self._again.extend(study for study, deaths in due if deaths)
            yield [study for study, deaths in due if not deaths]
        self.manifest.end_pass()

    def _pass_over(self, study: Study) -> None:
        """What its source knows to be wrong is listed without an attempt."""
        if self.manifest.note([study]):
            self.manifest.finish(study, Outcome("failed", study.wrong))
            if self._progress is not None:
                self._progress.step(True)

    def _fill(self) -> bool:
        while not self._waiting:
            part = next(self._noted, None)
            if part is None:
                return bool(self._again)
            self._waiting.extend(part)
        return True

    def _take(self) -> Study | None:
        while self._fill():
            study = self._waiting.popleft() if self._waiting else self._again.popleft()
            if self.manifest.begin(study, self._here):  # not the second of two in a list
                return study
        return None

    def run(self, pool: Pool, progress: Progress, between: Callable[[], None] = lambda: None) -> None:
        """Let a pool work until nothing is left.

        Args:
            pool: of workers.
            progress: is told of each study that ends.
            between: raises what is to stop the run, once the studies at work have ended.

        Raises:
            EndsTheRunError: what every further study would meet too.
            KeyboardInterrupt, Terminated: from ``between``.
        """
        stopped: list[BaseException] = []
        fatal: list[str] = []
        begun: dict[str, Study] = {}
        self._here, self._progress = pool.here, progress

        def take() -> Study | None:
            if stopped or fatal:
                return None
            try:
                between()
            except BaseException as error:
                if not was_interrupted(error):
                    raise
                stopped.append(error)
                return None
            study = self._take()
            if study is not None:
                if not begun and not self.ended:
                    progress.ready()
                begun[study.key] = study
            return study

        try:
            for study, outcome in pool.run(take):
                begun.pop(study.key, None)
                if outcome is not None and outcome.ends_the_run:
                    fatal.append(outcome.reason)
                    self.manifest.release(study)
                elif self._write_down(study, outcome):
                    self.ended += 1
                    progress.step(outcome is None or outcome.state == "failed")
                self.seconds, self.rate = progress.seconds, progress.rate
        finally:
            for study in begun.values():  # not ended, and not its fault
                self.manifest.release(study)
            clear_leftovers(self.out / RESULTS)
        if fatal:
            raise EndsTheRunError(f"{fatal[0]}. What is done stays; start the same command again to go on.")
        if stopped:
            raise stopped[0]

    def _write_down(self, study: Study, outcome: Outcome | None) -> bool:
        """Note what became of a study; returns whether it has ended."""
        if outcome is None:
            self.deaths += 1
            if self.manifest.died(study):
                logger.warning("a study has ended its worker %d times and is given up: %s", DEATHS, study.key)
                return True
            self._again.append(study)
            return False
        self.peak_mb = max(self.peak_mb, outcome.peak_mb)
        if outcome.state != "done":
            self.manifest.finish(study, outcome)
            return True
        self._sums.add(outcome)
        self.manifest.finish(study, outcome, self._batch, self._sums)
        if self._sums.studies >= BATCH:
            for flag in self._sums.flags():
                logger.warning("batch %d: %s", self._batch, flag)
            self._batch, self._sums = self._batch + 1, Batch(self.fingerprints)
        return True
