"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["DiskFullError", "replace_file"]

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
_TOO_LARGE = "the file is larger than this process may write (ulimit -f)"


class DiskFullError(OSError):
    """A file did not fit on the disk; what was there before is unchanged."""


@contextmanager
def replace_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``; after the block its file takes the place of ``path`` in one step.

    What was written is on the disk (``fsync``) before it takes the place, so that neither a kill nor a power cut leaves
    half a file. When the block fails, the temporary file is removed and what was at ``path`` stays. A symbolic link at
    ``path`` is replaced, not written through. Suffixes are kept, because image writers choose the format by them.

    Raises:
        DiskFullError: the file did not fit; the message says how much is free.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    temporary.unlink(missing_ok=True)  # what an earlier process of this number left, or a link to somewhere else
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        reason = _TOO_LARGE if error.errno == errno.EFBIG else _FULL.get(error.errno or 0)
        if reason is None:
            raise
        free = shutil.disk_usage(target.parent).free / 1e6
        raise DiskFullError(
            f"{target} was not written: {reason} ({free:.1f} MB are free). What was there before is unchanged."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
