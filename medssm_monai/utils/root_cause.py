"""What really went wrong, behind the errors that MONAI wraps around it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

__all__ = ["root_cause", "show_root_cause", "unwrapped"]


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


def show_root_cause() -> None:
    """End the traceback of an uncaught error with its root cause.

    MONAI wraps whatever a config component raises, so that the last lines of a failed ``monai.bundle run`` name a
    config expression, and the message that says what to do stands pages above. After this call, which bundle configs
    make in ``initialize``, it stands at the end as well. Calling it again changes nothing.
    """
    previous = sys.excepthook
    if getattr(previous, "shows_root_cause", False):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        previous(kind, error, trace)
        cause = root_cause(error)
        if cause is not error:
            sys.stderr.write(f"\nWhat went wrong: {type(cause).__name__}: {cause}\n")

    hook.shows_root_cause = True
    sys.excepthook = hook
