"""What really went wrong, behind the errors that MONAI wraps around it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from .interruption import note_interruption

__all__ = ["root_cause", "show_root_cause", "unwrapped", "wants_traceback"]


def root_cause(error: BaseException) -> BaseException:
    """The error itself, which says what to do, behind the ``RuntimeError`` that MONAI wraps around it.

    MONAI wraps what a config expression or a transform raises, sometimes more than once. A ``RuntimeError`` that
    others raise from another error is a message of its own and is not looked behind.
    """
    while _wraps(error):
        error = error.__cause__
    return error


def _wraps(error: BaseException) -> bool:
    """Whether MONAI raised this error from another one."""
    if type(error) is not RuntimeError or error.__cause__ is None:
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__", "").split(".")[0] == "monai"


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the root cause instead of MONAI's wrapper."""
    try:
        yield
    except RuntimeError as error:
        cause = root_cause(error)
        if cause is error:
            raise
        raise cause from cause.__cause__


TRACEBACK_VARIABLE = "MEDSSM_TRACEBACK"
"""Environment variable: any value but 0 shows the traceback of an error as well."""


def wants_traceback() -> bool:
    """Whether the user asked for tracebacks, by ``MEDSSM_TRACEBACK=1``."""
    return os.environ.get(TRACEBACK_VARIABLE, "0") not in ("", "0")


def show_root_cause() -> None:
    """Show of an uncaught error its root cause alone; the traceback too where ``MEDSSM_TRACEBACK=1`` is set.

    MONAI wraps whatever a config component raises, so that the last lines of a failed ``monai.bundle run`` name a
    config expression, and the message that says what to do stands pages above. After this call, which bundle configs
    make in ``initialize``, that message is what one sees. Ctrl-C shows no traceback either. The exit code stays what it
    was. Calling it again changes nothing.
    """
    previous = sys.excepthook
    if getattr(previous, "shows_root_cause", False):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            note_interruption("Ctrl-C")
        if wants_traceback():
            previous(kind, error, trace)
        if isinstance(error, KeyboardInterrupt):
            return
        cause = root_cause(error)
        if not wants_traceback():
            sys.stderr.write(f"\n(Set {TRACEBACK_VARIABLE}=1 to see where in the program.)\n")
        sys.stderr.write(f"\nWhat went wrong: {type(cause).__name__}: {cause}\n")

    hook.shows_root_cause = True
    sys.excepthook = hook
