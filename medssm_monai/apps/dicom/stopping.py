"""Ctrl-C and SIGTERM: the prediction at hand ends first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ...bundle.interruption import Terminated

__all__ = ["stop_between"]


@contextmanager
def stop_between() -> Iterator[Callable[[], None]]:
    """Note Ctrl-C and SIGTERM inside of the block instead of ending what runs; a second one ends it at once.

    Yields:
        what is called between two predictions; it raises KeyboardInterrupt, or Terminated, once a signal has come.
        Libraries may catch what a signal raises inside of them, so that none is raised there. Outside of the main
        thread, and where signals are ignored, nothing is changed.
    """
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            between()

    def between() -> None:
        if came:
            raise KeyboardInterrupt if came[-1] == signal.SIGINT else Terminated

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, note)
    try:
        yield between
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
