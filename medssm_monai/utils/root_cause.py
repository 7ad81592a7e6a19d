"""Say at the end of a traceback what really went wrong."""

from __future__ import annotations

import sys
from types import TracebackType

__all__ = ["root_cause", "show_root_cause"]


def root_cause(error: BaseException) -> BaseException:
    """The first error of a chain of ``raise ... from ...``."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


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
