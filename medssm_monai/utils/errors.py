"""What really went wrong: the error behind those that MONAI wraps around it, and what failed in a run over many
items."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

__all__ = ["Failure", "describe_error", "ends_the_run", "root_cause", "unwrapped"]


def root_cause(error: BaseException) -> BaseException:
    """The error itself, which says what to do, behind the ``RuntimeError`` that MONAI wraps around it.

    MONAI wraps what a config expression or a transform raises, sometimes more than once. A ``RuntimeError`` that
    others raise from another error is a message of its own and is not looked behind.
    """
    while (cause := error.__cause__) is not None and _wraps(error):
        error = cause
    return error


def _wraps(error: BaseException) -> bool:
    """Whether MONAI raised this error, which has a cause."""
    if type(error) is not RuntimeError:
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


NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Failure:
    """One item that failed, in plain text, so that it passes from a loader's worker processes.

    Attributes:
        file: the item's file; of a pair that of source A.
        stage: ``"read"`` (with preprocessing), ``"network"``, ``"result"`` (post-processing and saving), ...
        reason: kind and message of the error, on one line.
    """

    file: str
    stage: str
    reason: str

    @classmethod
    def of(cls, file: str, stage: str, error: BaseException) -> Failure:
        """The failure of an item by an error, whose message need not name the file again."""
        return cls(file, stage, describe_error(error).replace(f"{file}: ", ""))

    def __str__(self) -> str:
        return f"{self.file} ({self.stage}): {self.reason}"


def describe_error(error: BaseException) -> str:
    """Kind and message of what is behind an error, on one line."""
    cause = root_cause(error)
    return f"{type(cause).__name__}: {' '.join(str(cause).split())}".rstrip(": ")


def ends_the_run(error: BaseException) -> bool:
    """Whether every further item would fail too: no place left to write to, or a device that is lost.

    Out of memory is no such error, neither on the computer nor on the device: the next image may be smaller.
    """
    cause = root_cause(error)
    full = isinstance(cause, OSError) and cause.errno in NO_PLACE
    return full or isinstance(cause, torch.AcceleratorError)
