"""What a command of a bundle shows: errors by their cause, and no lines of other packages that mislead or repeat."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, cast

from ..utils.command_line import option_words, run_by_monai
from ..utils.errors import root_cause
from .interruption import note_interruption

__all__ = ["show_root_cause", "tidy_console", "wants_traceback"]

logger = logging.getLogger(__name__)
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

    cast(Any, hook).shows_root_cause = True
    sys.excepthook = hook


EVALUATORS = ("ignite.engine.engine.SupervisedEvaluator", "ignite.engine.engine.BulkEvaluator")
TRAINER = "ignite.engine.engine.SupervisedTrainer"
STATISTICS = "monai.handlers.StatsHandler"
RESUMING = "Engine run resuming from iteration 0,"  # nothing is resumed: Ignite says so of every evaluation
ERRORS = ("Engine run is terminating due to exception", "Current run is terminating due to exception")
LEFT_OUT: Mapping[str, tuple[str, ...]] = {
    TRAINER: (RESUMING, *ERRORS),
    **dict.fromkeys(EVALUATORS, (RESUMING, *ERRORS, "Engine run finished.")),
    STATISTICS: ("Exception: ", "Key metric: None "),  # the traceback; no key metric at all
    "mlflow.store.db.utils": ("Creating initial MLflow database tables", "Updating database tables"),
    "urllib3.connectionpool": ("Retrying (Retry(",),  # the tracker itself says what becomes of a lost server
}
"""Logger -> how the messages begin that are not shown."""
CHOSEN = {**dict.fromkeys(EVALUATORS, ("Got new best metric of",)), STATISTICS: ("Key metric: ",)}
"""What an evaluation leaves out beside: nothing is chosen by its figures."""


class _LeaveOut(logging.Filter):
    def __init__(self, beginnings: tuple[str, ...]) -> None:
        super().__init__()
        self.beginnings = beginnings

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(self.beginnings)


def tidy_console(evaluation: bool = False) -> None:
    """Show what a user can use: errors by their cause, no misleading lines, and what MONAI's first line is about.

    Bundle configs call it first in ``initialize``. With ``MEDSSM_TRACEBACK=1`` nothing is left out.

    Args:
        evaluation: nothing is chosen by the figures, so that a "new best metric" would mislead.
    """
    show_root_cause()
    if wants_traceback():
        return
    from monai.apps import get_logger  # which gives a logger its handler only when nobody else has made it before

    for name, beginnings in LEFT_OUT.items():
        target = get_logger(name) if name == STATISTICS else logging.getLogger(name)
        for old in [one for one in target.filters if isinstance(one, _LeaveOut)]:
            target.removeFilter(old)
        target.addFilter(_LeaveOut((*beginnings, *(CHOSEN.get(name, ()) if evaluation else ()))))
    if run_by_monai() and os.environ.get("RANK", "0") == "0":
        _explain_first_line()


def _explain_first_line() -> None:
    """MONAI warns of every config before it reads it, so before a bundle could say anything."""
    config = option_words(sys.argv[1:])[1].get("config_file", ["", "the config"])[-1]
    logger.info(
        "about MONAI's first line: a config is a program, so run only those that you trust, as you would a script. "
        "Yours: %s",
        config.removeprefix("--config_file="),
    )
