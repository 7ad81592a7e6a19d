"""Studies one after the other in the process that hands them out: what needs nothing but this package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

from .outcome import Outcome
from .study import Study
from .work import Work
from .worker import StudyWorker

__all__ = ["InProcess", "Pool", "Take"]

Take = Callable[[], Study | None]
"""Gives the next study, which counts as begun; None when there is none now."""


class Pool(Protocol):
    """What works at studies."""

    here: bool
    """In this process."""
    workers: int
    nodes: Counter[str]
    """Of a cluster, how many studies each has done."""

    def run(self, take: Take) -> Iterator[tuple[Study, Outcome | None]]:
        """Work until there is nothing left: studies with their outcomes as they end, or None for one whose worker has
        died. No more studies are taken than there are workers."""

    def close(self) -> None:
        """End all workers."""


class InProcess:
    """A pool of one worker, this process.

    Args:
        work: what is to be done, and how.
    """

    here, workers = True, 1

    def __init__(self, work: Work) -> None:
        self.nodes: Counter[str] = Counter()
        self._worker = StudyWorker(work)

    def run(self, take: Take) -> Iterator[tuple[Study, Outcome | None]]:
        """See :class:`Pool`. The worker is loaded before the first study begins."""
        self._worker.load()
        while (study := take()) is not None:
            yield study, self._worker.predict(study)

    def close(self) -> None:
        """Nothing is to be ended."""
