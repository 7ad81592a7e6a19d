"""What commands share: errors in one line, an exit status for each end, and runs that are gone on with."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from ..bundle.console import wants_traceback
from ..bundle.interruption import Terminated
from ..utils.errors import root_cause
from ..utils.text_files import printable

__all__ = ["INTERRUPTED", "NOT_POSSIBLE", "TERMINATED", "run_command", "run_to_go_on"]

NOT_POSSIBLE, INTERRUPTED, TERMINATED = 2, 130, 143


def _cause(error: Exception) -> str:
    return str(root_cause(error))


def run_command(prog: str, run: Callable[[], int | None], said: Callable[[Exception], str] = _cause) -> int:
    """Run what a command does; returns its exit status, 2 after an error, which is said in one line.

    Args:
        prog: the command, as it was typed.
        run: returns the exit status; None is 0.
        said: an error in words.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        return int(run() or 0)
    except Exception as error:
        if wants_traceback():
            raise
        print(printable(f"{prog}: {said(error)}"), file=sys.stderr)
        return NOT_POSSIBLE


def run_to_go_on(prog: str, run: Callable[[], int | None], said: Callable[[Exception], str] = _cause) -> int:
    """:func:`run_command` for what is gone on with when the same command is started again: 130 after Ctrl-C, 143 after
    SIGTERM."""
    try:
        return run_command(prog, run, said)
    except (KeyboardInterrupt, Terminated) as error:
        print("\nInterrupted; start the same command again to go on.", file=sys.stderr)
        return TERMINATED if isinstance(error, Terminated) else INTERRUPTED
