"""What the commands that wait for studies share: messages, errors in words, and an end in order."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from ..frame import INTERRUPTED, run_command

__all__ = ["end_on_signals", "run_served"]


class Stoppable(Protocol):
    """A worker, or a watcher."""

    def stop(self) -> None:
        """End after what is at hand."""


def run_served(prog: str, run: Callable[[], int | None]) -> int:
    """Run a command; returns its exit status, 2 for what cannot be done, 130 after a second Ctrl-C."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("medssm_monai.apps.dicom").setLevel(logging.INFO)
    try:
        return run_command(prog, run)
    except KeyboardInterrupt:
        return INTERRUPTED


def end_on_signals(one: Stoppable) -> None:
    """Let SIGTERM and Ctrl-C stop it after what is at hand; a second one does not wait for that."""
    asked: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt
        one.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
