"""What a command of a bundle shows: lines of other packages that mislead or repeat are left out, each by its words."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

from .command_line import option_words, run_by_monai
from .root_cause import show_root_cause, wants_traceback

__all__ = ["tidy_console"]

logger = logging.getLogger(__name__)

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
