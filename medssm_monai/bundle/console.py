"""What a command of a bundle shows: errors by their cause, and no lines of other packages that mislead or repeat."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import Any, cast

from ..utils.command_line import option_words, run_by_monai
from ..utils.errors import root_cause
from ..utils.process_failures import failure_elsewhere, lost_others, note_failure
from ..utils.processes import process_rank
from .interruption import note_interruption

__all__ = ["show_root_cause", "tidy_console", "trust_config", "wants_traceback"]

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
    make in ``initialize``, that message is what one sees. Of several processes the first that fails is named. Ctrl-C
    shows no traceback either. The exit code stays what it was. Calling it again changes nothing.
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
        note_failure(error)
        cause = root_cause(error)
        if lost_others(cause):
            if process_rank() == 0:  # torchrun's own summary, which follows, names exit codes and signals
                told = failure_elsewhere() or "another process of this training has ended without a word"
                sys.stderr.write(f"\nWhat went wrong: {told}\n")
            return
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


QUIET: Mapping[str, tuple[str, ...]] = {
    TRAINER: ("",),
    **dict.fromkeys(EVALUATORS, ("",)),
    STATISTICS: ("",),
    "monai.bundle.scripts": ("",),  # the options as they were typed
    "medssm_monai.data.demo.folder": ("demo set (synthetic)",),
    "medssm_monai.handlers.mlflow": ("MLflow run",),
    "medssm_monai.handlers.predictions_csv": ("predictions of",),
    "medssm_monai.handlers.unlike_training": ("what the weights were trained for",),
    "medssm_monai.handlers.training_domain": ("the weights are trained for",),
    "medssm_monai.handlers.training_state": ("state of epoch",),
    **dict.fromkeys(
        (f"medssm_monai.handlers.{kind}_report" for kind in ("segmentation", "classification", "fusion", "evaluation")),
        ("validation on",),
    ),
}
"""Logger -> how the informing messages begin that a progress bar and the closing lines say better."""
PLAIN = "%(message)s"
NOTES = "medssm_monai.ops"


class _LeaveOut(logging.Filter):
    def __init__(self, beginnings: tuple[str, ...], informing: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.beginnings, self.informing = beginnings, informing

    def filter(self, record: logging.LogRecord) -> bool:
        left_out = self.beginnings + (self.informing if record.levelno <= logging.INFO else ())
        return not record.getMessage().startswith(left_out) if left_out else True


class _Plain(logging.Formatter):
    """The message alone; from a warning on with its level before it, but for notes of what takes a while."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        plain = record.levelno <= logging.INFO or (record.name.startswith(NOTES) and text.startswith("compiling"))
        return text if plain else f"{record.levelname}: {text}"


def tidy_console(evaluation: bool = False, verbose: bool = True) -> None:
    """Show what a user can use: errors by their cause, no misleading lines, and what MONAI's first line is about.

    Bundle configs call it first in ``initialize``. Of several processes the first one speaks; the others show errors
    only. With ``MEDSSM_TRACEBACK=1`` nothing is left out.

    Args:
        evaluation: nothing is chosen by the figures, so that a "new best metric" would mislead.
        verbose: False also leaves out what the progress bar and the closing lines say, and shows messages without time
            and origin; in commands of ``monai.bundle`` only, whose console is theirs. Warnings stay.
    """
    show_root_cause()
    if process_rank() > 0 and run_by_monai():
        logging.disable(logging.WARNING)
        warnings.filterwarnings("ignore")
    if wants_traceback():
        return
    from monai.apps import get_logger  # which gives a logger its handler only when nobody else has made it before

    quiet = QUIET if not verbose and run_by_monai() else {}
    for name in dict.fromkeys([*LEFT_OUT, *QUIET]):
        target = get_logger(name) if name == STATISTICS else logging.getLogger(name)
        for old in [one for one in target.filters if isinstance(one, _LeaveOut)]:
            target.removeFilter(old)
        beginnings = (*LEFT_OUT.get(name, ()), *(CHOSEN.get(name, ()) if evaluation else ()))
        target.addFilter(_LeaveOut(beginnings, quiet.get(name, ())))
    if quiet:
        for handler in logging.getLogger().handlers:
            if getattr(handler, "stream", None) in (sys.stdout, sys.stderr):
                handler.setFormatter(_Plain(PLAIN))
    if run_by_monai() and not _trusted and os.environ.get("RANK", "0") == "0":
        _explain_first_line()


_trusted: list[bool] = []


def trust_config() -> None:
    """Leave out MONAI's warning that a config is a program, and what we say about it: for commands that run a config
    which came with this package, or which lies where the user has told it to look for bundles."""
    warnings.filterwarnings("ignore", message="parsing config_file")
    _trusted.append(True)


def _explain_first_line() -> None:
    """MONAI warns of every config before it reads it, so before a bundle could say anything."""
    config = option_words(sys.argv[1:])[1].get("config_file", ["", "the config"])[-1]
    logger.info(
        "about MONAI's first line: a config is a program, so run only those that you trust, as you would a script. "
        "Yours: %s",
        config.removeprefix("--config_file="),
    )
