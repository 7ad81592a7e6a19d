"""An end by SIGTERM or Ctrl-C: without a traceback, with what is there and the command to go on."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from ..utils.command_line import arguments_with, as_typed, launcher, option_words, run_by_monai
from ..utils.files import shown_path
from ..utils.process_failures import failure_elsewhere
from ..utils.processes import process_rank

__all__ = ["Terminated", "end_on_signals", "note_interruption", "was_interrupted"]

logger = logging.getLogger(__name__)
CLOSING = 60.0  # seconds that a run may take to close after SIGTERM


class Terminated(SystemExit):
    """SIGTERM came; the exit code is that of a program which it ended, 143."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)

    def __str__(self) -> str:
        return "SIGTERM"


def was_interrupted(error: BaseException) -> bool:
    """Whether a program ends since somebody wanted it to: Ctrl-C or SIGTERM."""
    return isinstance(error, (KeyboardInterrupt, Terminated))


@dataclass
class _Run:
    folder: Path | None
    name: str | None
    process: int
    ended_by: str | None = None
    terminated: float | None = None  # when SIGTERM came


_current: _Run | None = None


def end_on_signals(run_dir: str | os.PathLike[str] | None = None, run_name: str | None = None) -> None:
    """From here on SIGTERM ends the program as Ctrl-C does: what has begun is closed (the tracked run as KILLED, curves
    drawn), and the last line says how to go on. Exit codes: 143 for SIGTERM, 130 for Ctrl-C.

    Bundle configs call it in ``initialize``. In a notebook, in a thread other than the main one, and where a program
    has its own handler of SIGTERM, signals stay as they are.

    Args:
        run_dir: folder of a training, to which ``--resume_from`` goes back; None where there is nothing to resume.
        run_name: its name in the tracking store.
    """
    global _current
    if _current is None:
        atexit.register(_say_how_to_go_on)
    _current = _Run(None if run_dir is None else Path(run_dir), run_name, os.getpid())
    main = threading.current_thread() is threading.main_thread()
    if main and "ipykernel" not in sys.modules and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    if _current is None or os.getpid() != _current.process:  # a worker process of a data loader, forked with this
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        return
    now = time.monotonic()
    if _current.terminated is not None and now - _current.terminated < CLOSING:
        return  # torchrun sends a second one; closing takes some seconds
    if _current.terminated is not None:  # the program went on, so it is ended as if nothing had been arranged
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        return
    _current.terminated = now
    note_interruption("SIGTERM")
    raise Terminated


def note_interruption(how: str) -> None:
    """Remember what ends the program, for its last line."""
    if _current is not None and _current.ended_by is None:
        _current.ended_by = how


def _say_how_to_go_on() -> None:
    if _current is None or _current.ended_by is None or os.getpid() != _current.process or process_rank() > 0:
        return
    ended_by = failure_elsewhere() or _current.ended_by
    if _current.folder is None:
        logger.warning("Stopped by %s.", ended_by)
    elif not any(_current.folder.glob("checkpoint_epoch=*.pt")):
        logger.warning("Stopped by %s before an epoch was complete: there is nothing to go on from.", ended_by)
    elif _goes_on_by_itself():
        logger.warning("Stopped by %s. The same command goes on with %s.", ended_by, _current.folder.name)
    elif run_by_monai():
        logger.warning(
            "Stopped by %s. To go on:\n\n    %s\n", ended_by, _resume_command(_current.folder, _current.name)
        )
    else:
        logger.warning(
            "Stopped by %s. To go on, give resume_from=%r and run_name=%r.",
            ended_by,
            str(_current.folder),
            _current.name,
        )


def _resume_command(folder: Path, name: str | None) -> str:
    changes = {"resume_from": shown_path(folder), **({"run_name": name} if name else {})}
    return as_typed([*launcher(), "-m", "monai.bundle", *arguments_with(sys.argv[1:], changes)])


def _goes_on_by_itself() -> bool:
    """Whether the command was typed with ``--resume true``."""
    word = option_words(sys.argv[1:])[1].get("resume", ["--resume=false"])[-1] if run_by_monai() else "false"
    return word == "--resume" or word.removeprefix("--resume=").lower() == "true"
