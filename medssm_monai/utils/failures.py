"""What failed in a run over many items, told apart from what ends the run."""

from __future__ import annotations

import errno
from dataclasses import dataclass

import torch

from .root_cause import root_cause

__all__ = ["Failure", "describe_error", "ends_the_run"]

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
