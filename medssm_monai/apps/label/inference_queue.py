"""Several inferences at once, some more waiting, each with a limit of time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as WaitingEnded
from contextvars import copy_context
from typing import Generic, TypeVar

__all__ = ["Busy", "InferenceQueue", "TookTooLong"]

Result = TypeVar("Result")


class Busy(RuntimeError):
    """So many are waiting already that another would not have its turn soon."""


class TookTooLong(RuntimeError):
    """There was no result within the limit of time."""


class InferenceQueue(Generic[Result]):
    """Runs work in threads of its own.

    A thread cannot be stopped: work that took too long keeps its place until it ends, and its result goes to
    ``forget``. What waited too long is not begun.

    Args:
        parallel: pieces of work at once.
        waiting: more of them that may wait.
        seconds: from :meth:`run` to the result.
        forget: gets results that nobody waits for any more.
    """

    def __init__(
        self, parallel: int, waiting: int, seconds: float, forget: Callable[[Result], object] = lambda _: None
    ) -> None:
        self.places, self.seconds, self.forget = parallel + waiting, seconds, forget
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="inference")
        self._lock = threading.Lock()
        self._taken = 0

    def run(self, work: Callable[[], Result]) -> Result:
        """The result of ``work``, or its exception.

        Raises:
            Busy: no place to wait is free.
            TookTooLong: the limit is over.
        """
        with self._lock:
            if self._taken >= self.places:
                raise Busy(f"{self._taken} inferences are running or waiting; ask again later.")
            self._taken += 1
        future = self._pool.submit(copy_context().run, work)
        future.add_done_callback(self._leave)
        try:
            return future.result(self.seconds)
        except WaitingEnded as error:
            if future.done():
                raise  # an exception of the work itself
            if not future.cancel():
                future.add_done_callback(self._drop)
            raise TookTooLong(f"no result within {self.seconds:g} s.") from error

    def _leave(self, _: Future) -> None:
        with self._lock:
            self._taken -= 1

    def _drop(self, future: Future) -> None:
        if not future.cancelled() and future.exception() is None:
            self.forget(future.result())
