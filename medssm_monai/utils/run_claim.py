"""One training at a time in a run's folder."""

from __future__ import annotations

import logging
import os
import socket
import time
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["claim_run", "release_run"]

logger = logging.getLogger(__name__)

LOCK, HOLDER = ".training.lock", ".training"
_held: dict[str, FileLock] = {}


def claim_run(run_dir: str | os.PathLike[str]) -> None:
    """Take a run's folder for the training of this process, until :func:`release_run` or the end of the process.

    The lock is the operating system's: that of a process which was killed is free again, and its folder can be resumed.
    A claim of the same process is renewed.

    Raises:
        RuntimeError: another training, which is still running, has the folder.
    """
    folder = Path(run_dir).absolute()
    if str(folder) in _held:
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / LOCK, timeout=0), folder / HOLDER
    try:
        lock.acquire()
    except Timeout:
        raise RuntimeError(
            f"{folder}: a training is running in this folder ({_read(holder)}). Wait for its end, stop it, or give "
            "this training another --run_name."
        ) from None
    if holder.is_file():
        logger.info("%s: a training was interrupted here (%s); its folder is taken over", folder, _read(holder))
    holder.unlink(missing_ok=True)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    holder.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}\n", encoding="utf8")
    _held[str(folder)] = lock


def _read(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf8").strip()
    except OSError:
        return "process unknown"


def release_run(run_dir: str | os.PathLike[str]) -> None:
    """Give the folder back; a folder that this process has not claimed is left as it is."""
    folder = Path(run_dir).absolute()
    lock = _held.pop(str(folder), None)
    if lock is not None:
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()
