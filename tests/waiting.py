"""Waiting for what another thread, process or server does, however busy the computer is."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["PATIENCE", "wait_for"]

PATIENCE = 300.0
"""Seconds after which something is taken not to come at all; no test measures by it how fast something is."""

Answer = TypeVar("Answer")


def wait_for(
    what: str,
    ready: Callable[[], Answer],
    seconds: float = PATIENCE,
    show: Callable[[], object] = str,
    pause: float = 0.1,
    process: subprocess.Popen | None = None,
) -> Answer:
    """The first true answer of ``ready``, which is asked every ``pause`` seconds.

    AssertionError with what ``show`` says where there is none within ``seconds``, or none when ``process`` has ended.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended = process is not None and process.poll() is not None
        if answer := ready():
            return answer
        assert not ended, f"no {what}: the program has ended\n{show()}"
        time.sleep(pause)
    raise AssertionError(f"no {what} within {seconds:g} s\n{show()}")
