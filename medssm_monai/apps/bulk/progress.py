"""How far a run has come: a bar on a terminal, a line now and then elsewhere, such as in the log of a cluster's job."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

__all__ = ["Progress"]

EVERY = 30.0  # seconds


class Progress:
    """Counts studies that end, from a start that may lie behind some that were done before.

    Args:
        total: studies of the input.
        before: how many of them had ended before.
        name: what the bar is called.
        stream: where it is shown; None takes the standard error.
        every: seconds between two lines where there is no terminal.
    """

    def __init__(self, total: int, before: int, name: str, stream: TextIO | None = None, every: float = EVERY) -> None:
        from tqdm import tqdm

        self.total, self.before, self.every = total, before, every
        self.stream = sys.stderr if stream is None else stream
        self.ended = self.failed = 0
        self._started = self._said = time.monotonic()
        terminal = self.stream.isatty()
        self._bar = tqdm(
            total=total, initial=before, desc=name, unit="study", disable=not terminal, dynamic_ncols=True, file=stream
        )
        self._lines = not terminal

    def ready(self) -> None:
        """The first study begins now: what came before was the start."""
        self._started = time.monotonic()

    def step(self, failed: bool) -> None:
        """One study has ended."""
        self.ended += 1
        self.failed += failed
        self._bar.set_postfix_str(f"{self.failed} failed" if self.failed else "", refresh=False)
        self._bar.update()
        if self._lines and time.monotonic() - self._said >= self.every:
            self._said = time.monotonic()
            print(self.line(), file=self.stream, flush=True)

    @property
    def seconds(self) -> float:
        """Since the first study began."""
        return time.monotonic() - self._started

    @property
    def rate(self) -> float:
        """Studies in a second, of this run."""
        return self.ended / self.seconds if self.ended else 0.0

    def line(self) -> str:
        """The state in words."""
        rest = self.total - self.before - self.ended
        left = f", {rest / self.rate:.0f} s left" if self.rate and rest > 0 else ""
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.before + self.ended} of {self.total} studies{failed}, {self.rate:.2f} per second{left}"

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
